"""Calls and their replies, whatever carries them. Knows no socket.

transport.request(Call("knowledge", "search", {"name": "kb", "query": "…"})) ─▶ replies
handler(incoming) ─▶ the value, or an iterator of values
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from msgspec import Struct

T = TypeVar("T")
DEADLINE_S = 60.0


class Priority(IntEnum):
    """Which waiting requests are served first; each priority has a queue of its own."""

    CHAT = 0
    NORMAL = 1
    BULK = 2


class Call(Struct, frozen=True):
    """A request: a method of an object behind the transport, with its arguments by name.

    bound       which of several such objects, where the service has more than one
    returns     the type of a reply; what arrives as bytes is decoded and checked as this
    stream      whether the method gives an iterator; its errors at the call come before its values
    deadline_s  the longest wait for the next reply; every reply starts it anew
    repeatable  whether asking twice is as good as asking once, so that a request whose worker died
                may be given to another
    """

    target: str
    method: str
    arguments: Mapping[str, Any] = {}
    bound: Mapping[str, str] = {}
    returns: Any = Any
    stream: bool = False
    deadline_s: float = DEADLINE_S
    priority: Priority = Priority.NORMAL
    repeatable: bool = False


class Transport(Protocol):
    """Carries calls. Any thread may call, and many at once."""

    def request(self, call: Call) -> Iterator[Any]:
        """Begin the call and return its replies.

        What is wrong with a call (and what the method raises when it is called) is raised here,
        what goes wrong later by the iterator. A stream's values are made as they are fetched; some
        transports fetch a few ahead. Closing the iterator cancels the call.

        Raises any RagError the object raises, and Unreachable, DeadlineExceeded, WorkerLost, Busy,
        NotAllowed, BadMessage and Internal.
        """

    def close(self) -> None:
        """Free all connections; running calls fail."""


class Incoming(Protocol):
    """A call as it arrives at a handler: which method of which object, and its arguments."""

    target: str
    method: str
    bound: Mapping[str, str]

    def arguments(self, type: type[T]) -> T:
        """The arguments as a `type` (a msgspec Struct). Raises BadMessage where they do not fit."""

    def cancelled(self) -> bool:
        """Whether the caller has gone, so that nobody reads further values."""


Handler = Callable[[Incoming], Any]
"""Answers a call: returns the value, or an iterator of values. May raise anything."""
