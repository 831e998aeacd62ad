"""Workers and their slots, as the router counts them."""

from __future__ import annotations

import pytest

from rwkv_rag.bus import staff
from rwkv_rag.bus.staff import Slot, Staff, Worker


def hired(people: Staff, token: bytes, slots: int) -> Worker:
    worker = people.enrol(token, token.decode(), slots, 0.0)
    assert worker is not None
    for number in range(slots):
        assert people.open(worker, token + bytes([number]))
    return worker


def taken(people: Staff) -> Slot:
    slot = people.take()
    assert slot is not None
    return slot


def test_workers_take_turns_whatever_their_number_of_slots() -> None:
    people = Staff()
    hired(people, b"a", 3)
    hired(people, b"b", 1)
    names = [taken(people).worker.name for _ in range(4)]
    assert names == ["a", "b", "a", "a"] and people.take() is None


def test_a_slot_that_is_free_again_can_be_taken_again() -> None:
    people = Staff()
    hired(people, b"a", 1)
    slot = taken(people)
    people.release(slot)
    assert taken(people) is slot


def test_a_worker_has_no_more_slots_than_it_spoke_of() -> None:
    people = Staff()
    worker = hired(people, b"a", 2)
    assert people.open(worker, b"one more") is None and len(people.slots) == 2


def test_there_is_an_end_to_how_many_workers_can_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staff, "MAX_WORKERS", 1)
    people = Staff()
    hired(people, b"a", 1)
    assert people.enrol(b"b", "b", 1, 0.0) is None
    assert people.enrol(b"a", "a", 1, 0.0) is not None


def test_a_worker_that_was_dismissed_can_be_given_nothing() -> None:
    people = Staff()
    worker = hired(people, b"a", 2)
    busy = taken(people)
    assert {slot.identity for slot in people.dismiss(worker)} == {b"a\0", b"a\1"}
    assert people.take() is None and not people.slots and not len(people)
    assert busy.worker is worker


def test_a_worker_that_leaves_is_gone_with_its_last_slot() -> None:
    people = Staff()
    worker = hired(people, b"a", 2)
    busy = taken(people)
    (free,) = people.leave(worker)
    people.close(free)
    people.release(busy)
    assert people.take() is None and len(people) == 1
    people.close(busy)
    assert len(people) == 0
