"""Turns: one caller at a time, in the order they came, and nobody waits for who has gone."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rwkv_rag.services.serve import FairLock, LockedIterator

SOON_S = 10.0


def started(run: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def waiting(lock: FairLock, number: int) -> None:
    """Until so many stand in line, the holder included."""
    until = time.monotonic() + SOON_S
    while len(lock._waiting) < number:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_waiters_are_served_in_the_order_they_came() -> None:
    lock, order, threads = FairLock(), list[int](), []

    def take(number: int) -> None:
        with lock:
            order.append(number)

    with lock:
        for number in range(8):
            threads.append(started(lambda number=number: take(number)))
            waiting(lock, number + 2)
    for thread in threads:
        thread.join(SOON_S)
    assert order == list(range(8))


def test_who_asks_again_at_once_stands_behind_those_who_wait() -> None:
    lock, order = FairLock(), list[str]()

    def other() -> None:
        with lock:
            order.append("other")

    lock.__enter__()
    thread = started(other)
    waiting(lock, 2)
    lock.__exit__()
    with lock:
        order.append("again")
    thread.join(SOON_S)
    assert order == ["other", "again"]


def test_whoever_has_the_turn_may_take_it_again() -> None:
    lock = FairLock()
    with lock, lock:
        pass
    assert lock.run(lambda: "free") == "free"


def test_a_waiter_that_is_interrupted_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FairLock()
    wait_for = lock._changed.wait_for

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    def fail() -> None:
        with pytest.raises(KeyboardInterrupt), lock:
            pass

    with lock:
        monkeypatch.setattr(lock._changed, "wait_for", interrupted)
        started(fail).join(SOON_S)
        monkeypatch.setattr(lock._changed, "wait_for", wait_for)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lock.run, lambda: "next").result(SOON_S) == "next"


def test_a_call_that_fails_gives_its_turn_back() -> None:
    lock = FairLock()
    with pytest.raises(ZeroDivisionError):
        lock.run(lambda: 1 // 0)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lock.run, lambda: "next").result(SOON_S) == "next"


def test_between_two_steps_others_have_their_turn() -> None:
    lock, said = FairLock(), list[Any]()
    steps = lock.run(lambda: iter(range(3)))
    assert isinstance(steps, LockedIterator) and said == []
    with ThreadPoolExecutor(1) as other:
        for step in steps:
            said += [step, other.submit(lock.run, lambda: "other").result(SOON_S)]
    assert said == [0, "other", 1, "other", 2, "other"]


def test_no_two_steps_are_made_at_once() -> None:
    lock, inside = FairLock(), list[int]()

    def work() -> Iterator[int]:
        for number in range(50):
            inside.append(number)
            assert len(inside) == 1
            time.sleep(0.0001)
            inside.pop()
            yield number

    with ThreadPoolExecutor(8) as threads:
        done = list(threads.map(lambda _: len(list(lock.run(work))), range(8)))
    assert done == [50] * 8


def test_lists_and_texts_are_no_steps() -> None:
    lock = FairLock()
    assert lock.run(lambda: [1]) == [1] and lock.run(lambda: "ab") == "ab"


def test_closing_waits_for_the_turn_and_ends_the_work() -> None:
    lock, ended = FairLock(), threading.Event()

    def work() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.set()

    steps = lock.run(work)
    assert next(steps) == 1
    with lock:
        closing = started(steps.close)
        waiting(lock, 2)
        assert not ended.is_set()
    closing.join(SOON_S)
    assert ended.is_set() and list(steps) == []


def test_what_is_given_up_inside_a_turn_stops_nobody() -> None:
    """A stream in a cycle is closed by the collector, in whichever thread and moment that is."""
    lock = FairLock()

    class Held:
        def __init__(self) -> None:
            self.me = self
            self.steps = lock.run(lambda: iter_forever())

        def __del__(self) -> None:
            self.steps.close()

    def iter_forever() -> Iterator[int]:
        while True:
            yield 1

    next(Held().steps)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lock.run, gc.collect).result(SOON_S) >= 0
