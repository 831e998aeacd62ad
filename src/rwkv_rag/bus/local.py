"""Calls within one process: the handler is called directly. Nothing is encoded or checked.

As over sockets, errors of the call come from `request` and later ones from the iterator; values are
made as they are fetched, none ahead. Unlike there, deadlines are not kept, since a method cannot be
stopped from outside, and unexpected exceptions keep their type and traceback.
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
        self._handler, self._closed = handler, False
        self._open: WeakSet[_Replies] = WeakSet()

    def request(self, call: Call) -> Iterator[Any]:
        if self._closed:
            raise _closed_error()
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
    """A call as the handler sees it, with the caller's own objects."""

    def __init__(self, call: Call) -> None:
        self.target, self.method = call.target, call.method
        self.bound: Mapping[str, str] = call.bound
        self.ended = False
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
        return self.ended


class _Replies:
    """The handler's values for one caller. May be closed from any thread."""

    def __init__(self, values: Iterator[Any], incoming: _LocalCall) -> None:
        self._values, self._incoming = values, incoming
        self._lock = Lock()  # held while the handler makes a value
        self._failed = False

    def __iter__(self) -> _Replies:
        return self

    def __next__(self) -> Any:
        with self._lock:
            self._check()
            try:
                value = next(self._values)
            except BaseException:
                self._incoming.ended = True
                raise
        if self._incoming.ended:  # closed by another thread, which could not close it itself
            self.close()
            self._check()
        return value

    def _check(self) -> None:
        if self._failed:
            raise _closed_error()
        if self._incoming.ended:
            raise StopIteration

    def close(self) -> None:
        """End the call; the handler's iterator is closed, by the thread that is in it if any."""
        self._incoming.ended = True
        if self._lock.acquire(blocking=False):
            try:
                if close := getattr(self._values, "close", None):
                    close()
            finally:
                self._lock.release()

    def fail(self) -> None:
        """End the call because the transport is closed."""
        self._failed = True
        self.close()

    __del__ = close


def _closed_error() -> Unreachable:
    return Unreachable("the connection was closed; open it again")
