"""Waiting requests, and workers with their slots, as the router keeps them."""

from __future__ import annotations

import pytest

from rwkv_rag.bus import queues
from rwkv_rag.bus.message import SCHEMA, Request
from rwkv_rag.bus.queues import Pending, RequestQueue, Slot, WorkerEntry, WorkerPool


def pending(id: int, *, priority: int = 1, due: float = 9.0, body: bytes = b"") -> Pending:
    request = Request(id, SCHEMA, priority, 60.0, False, True, "t", "m", {})
    return Pending(b"client", request, b"envelope", body, 0.0, due)


def ids(waiting: RequestQueue) -> list[int]:
    return [each.message.id for each in waiting]


def test_what_was_put_back_is_next() -> None:
    waiting = RequestQueue(3)
    for id in (1, 2):
        assert waiting.add(pending(id))
    waiting.put_back(waiting.take())
    assert ids(waiting) == [1, 2] and len(waiting) == 2


def test_those_that_waited_too_long_are_taken_out_and_no_others() -> None:
    waiting = RequestQueue(9)
    for id, due in enumerate([3.0, 1.0, 2.0, 5.0]):
        waiting.add(pending(id, due=due, priority=id % 3))
    assert {each.message.id for each in waiting.take_overdue(2.0)} == {1, 2}
    assert sorted(ids(waiting)) == [0, 3] and len(waiting) == 2


def test_large_requests_are_counted_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MAX_WAITING_BYTES", 100)
    waiting = RequestQueue(9)
    assert waiting.add(pending(1, body=bytes(60)))
    assert not waiting.add(pending(2, body=bytes(60)))
    assert waiting.take() and waiting.add(pending(2, body=bytes(60)))
    assert waiting.take_overdue(99.0) and waiting.add(pending(3, body=bytes(100)))


def test_a_request_is_repeated_after_the_loss_of_one_worker_and_not_of_two() -> None:
    request = pending(1)
    assert request.may_repeat(b"a")
    request.lost_by = b"a"
    assert request.may_repeat(b"a")  # the next of the slots of the same dead worker
    assert not request.may_repeat(b"b")


def test_a_request_whose_answer_has_begun_is_not_repeated() -> None:
    request = pending(1)
    request.replied = True
    assert not request.may_repeat(b"a")


def registered(pool: WorkerPool, token: bytes, slots: int) -> WorkerEntry:
    worker = pool.register(token, token.decode(), slots, 0.0)
    assert worker is not None
    for number in range(slots):
        assert pool.add_slot(worker, token + bytes([number]))
    return worker


def taken(pool: WorkerPool) -> Slot:
    slot = pool.take()
    assert slot is not None
    return slot


def test_workers_take_turns_whatever_their_number_of_slots() -> None:
    pool = WorkerPool()
    registered(pool, b"a", 3)
    registered(pool, b"b", 1)
    names = [taken(pool).worker.name for _ in range(4)]
    assert names == ["a", "b", "a", "a"] and pool.take() is None


def test_a_slot_that_is_free_again_can_be_taken_again() -> None:
    pool = WorkerPool()
    registered(pool, b"a", 1)
    slot = taken(pool)
    pool.release(slot)
    assert taken(pool) is slot


def test_a_worker_has_no_more_slots_than_it_announced() -> None:
    pool = WorkerPool()
    worker = registered(pool, b"a", 2)
    assert pool.add_slot(worker, b"one more") is None and len(pool.slots) == 2


def test_there_is_an_end_to_how_many_workers_can_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MAX_WORKERS", 1)
    pool = WorkerPool()
    registered(pool, b"a", 1)
    assert pool.register(b"b", "b", 1, 0.0) is None
    assert pool.register(b"a", "a", 1, 0.0) is not None


def test_a_worker_that_was_removed_can_be_given_nothing() -> None:
    pool = WorkerPool()
    worker = registered(pool, b"a", 2)
    busy = taken(pool)
    assert {slot.identity for slot in pool.remove(worker)} == {b"a\0", b"a\1"}
    assert pool.take() is None and not pool.slots and not len(pool)
    assert busy.worker is worker


def test_a_worker_that_leaves_is_gone_with_its_last_slot() -> None:
    pool = WorkerPool()
    worker = registered(pool, b"a", 2)
    busy = taken(pool)
    (free,) = pool.set_leaving(worker)
    pool.remove_slot(free)
    pool.release(busy)
    assert pool.take() is None and len(pool) == 1
    pool.remove_slot(busy)
    assert len(pool) == 0
