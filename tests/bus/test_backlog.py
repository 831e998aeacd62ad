"""Requests that wait: in order, and never too many."""

from __future__ import annotations

import pytest

from rwkv_rag.bus import backlog
from rwkv_rag.bus.backlog import Backlog, Pending
from rwkv_rag.bus.message import SCHEMA, Request


def pending(id: int, *, priority: int = 1, due: float = 9.0, body: bytes = b"") -> Pending:
    request = Request(id, SCHEMA, priority, 60.0, False, True, "t", "m", {})
    return Pending(b"client", request, b"envelope", body, 0.0, due)


def ids(waiting: Backlog) -> list[int]:
    return [each.message.id for each in waiting]


def test_what_was_put_back_is_next() -> None:
    waiting = Backlog(3)
    for id in (1, 2):
        assert waiting.add(pending(id))
    first = waiting.take()
    assert first is not None
    waiting.put_back(first)
    assert ids(waiting) == [1, 2] and waiting.size == 2


def test_those_that_waited_too_long_are_taken_out_and_no_others() -> None:
    waiting = Backlog(9)
    for id, due in enumerate([3.0, 1.0, 2.0, 5.0]):
        waiting.add(pending(id, due=due, priority=id % 3))
    assert {each.message.id for each in waiting.overdue(2.0)} == {1, 2}
    assert sorted(ids(waiting)) == [0, 3] and waiting.size == 2


def test_large_requests_are_counted_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING_BYTES", 100)
    waiting = Backlog(9)
    assert waiting.add(pending(1, body=bytes(60)))
    assert not waiting.add(pending(2, body=bytes(60)))
    assert waiting.take() and waiting.add(pending(2, body=bytes(60)))
    assert waiting.overdue(99.0) and waiting.add(pending(3, body=bytes(100)))


def test_a_request_outlives_one_worker_and_not_two() -> None:
    request = pending(1)
    assert request.outlives(b"a")
    request.lost_by = b"a"
    assert request.outlives(b"a")  # the next of the slots of the same dead worker
    assert not request.outlives(b"b")


def test_a_request_whose_answer_has_begun_outlives_nobody_and_keeps_no_body() -> None:
    request = pending(1, body=b"large")
    request.begin()
    assert not request.outlives(b"a") and request.size == 0
