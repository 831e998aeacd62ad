"""Calls in process: the same objects, made when they are asked for, and the same ends."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from rwkv_rag.bus.local import Local
from rwkv_rag.bus.transport import Call, Incoming
from rwkv_rag.errors import BadMessage, NotFound, Unreachable

COUNT = Call("numbers", "count", stream=True)


class Counter:
    """A handler that streams numbers and remembers what became of it."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.closed = False
        self.incoming: Incoming | None = None

    def __call__(self, incoming: Incoming) -> Iterator[int]:
        self.incoming = incoming
        return self.numbers()

    def numbers(self) -> Iterator[int]:
        try:
            for number in range(5):
                self.made.append(number)
                yield number
        finally:
            self.closed = True

    @property
    def cancelled(self) -> bool:
        return self.incoming is not None and self.incoming.cancelled()


def handled(handler: Callable[[Incoming], Any], **changes: Any) -> Iterator[Any]:
    return Local(handler).request(Call("target", "method", **changes))


def test_the_handler_sees_what_was_called() -> None:
    def handler(incoming: Incoming) -> Any:
        return incoming.target, incoming.method, dict(incoming.bound), incoming.cancelled()

    assert list(handled(handler, bound={"model": "m"})) == [
        ("target", "method", {"model": "m"}, False)
    ]


def test_arguments_and_values_are_the_same_objects_on_both_sides() -> None:
    class Arguments(msgspec.Struct):
        array: Any
        factor: int = 2

    array = np.ones(3)

    def handler(incoming: Incoming) -> Any:
        given = incoming.arguments(Arguments)
        assert given.factor == 2
        return given.array

    [back] = handled(handler, arguments={"array": array})
    assert back is array


@pytest.mark.parametrize("arguments", [{}, {"a": 1, "b": 2}])
def test_arguments_of_other_names_are_refused(arguments: dict[str, int]) -> None:
    one = msgspec.defstruct("one", [("a", int)])
    with pytest.raises(BadMessage, match="do not fit"):
        handled(lambda incoming: incoming.arguments(one), arguments=arguments)


def test_a_value_is_made_when_it_is_asked_for_and_no_sooner() -> None:
    counter = Counter()
    replies = Local(counter).request(COUNT)
    assert counter.incoming is not None and counter.made == []
    assert next(replies) == 0 and counter.made == [0]
    assert next(replies) == 1 and counter.made == [0, 1]
    assert list(replies) == [2, 3, 4] and counter.closed
    assert next(replies, None) is None


def test_errors_of_the_call_come_from_the_request() -> None:
    def handler(_: Incoming) -> Any:
        raise NotFound("no such thing")

    for stream in (False, True):
        with pytest.raises(NotFound, match="no such thing"):
            handled(handler, stream=stream)


def test_later_errors_come_from_the_iterator_which_is_then_over() -> None:
    def values(_: Incoming) -> Iterator[int]:
        yield 1
        raise NotFound("gone")

    replies = handled(values, stream=True)
    assert next(replies) == 1
    with pytest.raises(NotFound, match="gone"):
        next(replies)
    assert next(replies, None) is None


def test_a_mistake_in_the_program_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        handled(lambda _: 1 // 0)


def test_closing_the_replies_closes_the_handlers_iterator_and_cancels() -> None:
    counter = Counter()
    replies = Local(counter).request(COUNT)
    next(replies)
    assert not counter.cancelled
    replies.close()  # type: ignore[attr-defined]
    assert counter.closed and counter.cancelled and counter.made == [0]
    assert next(replies, None) is None


def test_replies_that_nobody_holds_any_more_are_closed() -> None:
    counter = Counter()
    replies = Local(counter).request(COUNT)
    next(replies)
    del replies
    gc.collect()
    assert counter.closed and counter.cancelled


def test_a_call_can_be_cancelled_from_another_thread_while_a_value_is_made() -> None:
    began, ended = threading.Event(), threading.Event()

    def values(incoming: Incoming) -> Iterator[int]:
        try:
            began.set()
            while not incoming.cancelled():
                threading.Event().wait(0.001)
            yield 1
        finally:
            ended.set()

    replies = handled(values, stream=True)
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.extend(replies))
    thread.start()
    assert began.wait(10)
    replies.close()  # type: ignore[attr-defined]
    thread.join(10)
    assert not thread.is_alive() and ended.is_set() and got == []


def test_a_stream_may_be_anything_that_can_be_iterated() -> None:
    replies = handled(lambda _: [1, 2], stream=True)
    assert next(replies) == 1
    replies.close()  # type: ignore[attr-defined]
    assert next(replies, None) is None


def test_closing_the_transport_ends_what_is_under_way_and_takes_nothing_new() -> None:
    counter = Counter()
    local = Local(counter)
    replies = local.request(COUNT)
    next(replies)
    local.close()
    assert counter.closed and counter.cancelled
    for attempt in (lambda: next(replies), lambda: local.request(COUNT)):
        with pytest.raises(Unreachable, match="closed"):
            attempt()


def test_many_threads_may_call_at_once() -> None:
    local = Local(lambda incoming: iter(range(int(incoming.bound["n"]))))
    results: dict[int, list[int]] = {}

    def ask(n: int) -> None:
        call = Call("numbers", "count", bound={"n": str(n)}, stream=True)
        results[n] = list(local.request(call))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == {n: list(range(n)) for n in range(16)}
