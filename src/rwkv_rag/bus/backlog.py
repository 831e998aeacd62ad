"""Requests as the router knows them, and those that wait. Knows no socket and no worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, TypeAlias

from msgspec import Struct

from rwkv_rag.bus.message import Request
from rwkv_rag.bus.transport import Priority

MAX_WAITING_BYTES = 512 << 20

Frame: TypeAlias = Any  # bytes, or what a socket has of the kind


class Pending(Struct, eq=False):
    """A request from its arrival until it is answered. Times are of the monotonic clock.

    envelope, body   as they came; the body is let go once nothing can want it again
    due              when it must have begun
    slot             the `staff.Slot` where it is worked on; None while it waits
    begun            whether the client has had a reply
    lost_by          the token of the worker that was lost with it, if one was
    """

    client: bytes
    message: Request
    envelope: Frame
    body: Frame | None
    arrived: float
    due: float
    slot: Any = None
    begun: bool = False
    lost_by: bytes = b""

    def begin(self) -> None:
        """The client has had a reply."""
        self.begun, self.body = True, None

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return 0 if self.body is None else len(self.body)

    def outlives(self, worker: bytes) -> bool:
        """Whether it may be given to another should it be lost with the worker of this token.

        That is so once; but the slots of a dead worker are found dead one by one.
        """
        return self.message.repeatable and not self.begun and self.lost_by in (b"", worker)


class Backlog:
    """A queue for each priority, none of them longer than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queues: tuple[deque[Pending], ...] = tuple(deque() for _ in Priority)
        self._bytes = 0
        self.size = 0

    def add(self, request: Pending) -> bool:
        """Whether there was room."""
        queue = self._queues[request.message.priority]
        if len(queue) >= self._limit or self._bytes + request.size > MAX_WAITING_BYTES:
            return False
        self._count(request, 1)
        queue.append(request)
        return True

    def put_back(self, request: Pending) -> None:
        """To the head: it waited already."""
        self._count(request, 1)
        self._queues[request.message.priority].appendleft(request)

    def take(self) -> Pending | None:
        """The next one, by priority and then by age."""
        for queue in self._queues:
            if queue:
                request = queue.popleft()
                self._count(request, -1)
                return request
        return None

    def remove(self, request: Pending) -> None:
        self._queues[request.message.priority].remove(request)
        self._count(request, -1)

    def overdue(self, now: float) -> list[Pending]:
        """Those that waited too long; they wait no more."""
        late = [request for request in self if request.due <= now]
        for request in late:
            self.remove(request)
        return late

    def waiting(self) -> dict[str, int]:
        """How many, by the name of their priority."""
        return {each.name.lower(): len(self._queues[each]) for each in Priority}

    def __iter__(self) -> Iterator[Pending]:
        for queue in self._queues:
            yield from queue

    def _count(self, request: Pending, by: int) -> None:
        self.size += by
        self._bytes += by * request.size
