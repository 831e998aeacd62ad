"""Calls within one process: the handler is called as it is. Nothing is encoded, nothing checked.

The same as over sockets: errors of the call come from `request`, later ones from the iterator;
values are made as they are fetched, none ahead. Other than there: a deadline is not kept, since a
method cannot be stopped from outside, and a mistake in the program stays what it is, with its
traceback.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakSet

from rwkv_rag.bus.transport import Call, Handler
from rwkv_rag.errors import BadMessage, Unreachable

T = TypeVar("T")


class Local:
    """The Transport to a handler in this process."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._closed = False
        self._open: WeakSet[_Replies] = WeakSet()

    def request(self, call: Call) -> Iterator[Any]:
        if self._closed:
            raise _gone()
        incoming = _LocalCall(call)
        value = self._handler(incoming)
        if not call.stream:
            return iter((value,))
        replies = _Replies(iter(value), incoming)
        self._open.add(replies)
        return replies

    def close(self) -> None:
        self._closed = True
        for replies in list(self._open):
            replies.fail()


class _LocalCall:
    """A call as the handler sees it: the caller's own objects."""

    def __init__(self, call: Call) -> None:
        self.target = call.target
        self.method = call.method
        self.bound: Mapping[str, str] = call.bound
        self.gone = False
        self._arguments = call.arguments

    def arguments(self, type: type[T]) -> T:
        """The arguments as they are; only their names are checked, as Python does."""
        try:
            return type(**self._arguments)
        except TypeError as error:
            raise BadMessage(
                "the arguments of {method} do not fit: {reason}", method=self.method, reason=error
            ) from error

    def cancelled(self) -> bool:
        return self.gone


class _Replies:
    """The handler's values for one caller. May be closed from any thread."""

    def __init__(self, values: Iterator[Any], incoming: _LocalCall) -> None:
        self._values = values
        self._incoming = incoming
        self._turn = Lock()  # held while the handler makes a value
        self._failed = False

    def __iter__(self) -> _Replies:
        return self

    def __next__(self) -> Any:
        with self._turn:
            self._check()
            try:
                value = next(self._values)
            except BaseException:
                self._incoming.gone = True
                raise
        if self._incoming.gone:  # closed by another thread, which left the rest to this one
            self.close()
            self._check()
        return value

    def _check(self) -> None:
        if self._failed:
            raise _gone()
        if self._incoming.gone:
            raise StopIteration

    def close(self) -> None:
        """End the call; the handler's iterator is closed, by the thread that is in it if any."""
        self._incoming.gone = True
        if self._turn.acquire(blocking=False):
            try:
                if close := getattr(self._values, "close", None):
                    close()
            finally:
                self._turn.release()

    def fail(self) -> None:
        """End the call because the transport is closed."""
        self._failed = True
        self.close()

    __del__ = close


def _gone() -> Unreachable:
    return Unreachable("the connection was closed; open it again")
