"""What a router keeps: requests that wait, and workers with their free slots. Knows no socket."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rwkv_rag.bus.message import Request
from rwkv_rag.bus.transport import Priority
from rwkv_rag.types import WorkerStatus

MAX_WAITING_BYTES = 512 << 20
MAX_WORKERS = 1024

Frame: TypeAlias = Any  # bytes, or a zmq.Frame


@dataclass(slots=True, eq=False)
class Pending:
    """A request from its arrival until it is answered. Times are of the monotonic clock.

    envelope, body   as they arrived; the body is dropped once it cannot be needed again
    due              when it must have been started
    slot             where it is worked on; None while it waits
    replied          whether the client has had a reply
    lost_by          the token of the worker that was lost while it worked on the request
    """

    client: bytes
    message: Request
    envelope: Frame
    body: Frame | None
    arrived: float
    due: float
    slot: Slot | None = None
    replied: bool = False
    lost_by: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return 0 if self.body is None else len(self.body)

    def may_repeat(self, worker: bytes) -> bool:
        """Whether it may be given to another worker after losing the one with this token.

        Only once; the slots of a lost worker are found lost one by one and count as one loss.
        """
        return self.message.repeatable and not self.replied and self.lost_by in (b"", worker)


class RequestQueue:
    """Waiting requests, a queue for each priority, none of them longer than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queues: tuple[deque[Pending], ...] = tuple(deque() for _ in Priority)
        self._bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def __iter__(self) -> Iterator[Pending]:
        for queue in self._queues:
            yield from queue

    def add(self, request: Pending) -> bool:
        """Append it to the queue of its priority; False if that is full."""
        queue = self._queues[request.message.priority]
        if len(queue) >= self._limit or self._bytes + request.size > MAX_WAITING_BYTES:
            return False
        self._bytes += request.size
        queue.append(request)
        return True

    def put_back(self, request: Pending) -> None:
        """Put it first: it waited already."""
        self._bytes += request.size
        self._queues[request.message.priority].appendleft(request)

    def take(self) -> Pending:
        """Remove and return the next one, by priority and then by age. Raises StopIteration."""
        request = next(iter(self))
        self.remove(request)
        return request

    def remove(self, request: Pending) -> None:
        self._queues[request.message.priority].remove(request)
        self._bytes -= request.size

    def take_overdue(self, now: float) -> list[Pending]:
        """Remove and return those that waited too long."""
        late = [request for request in self if request.due <= now]
        for request in late:
            self.remove(request)
        return late

    def lengths(self) -> dict[str, int]:
        """How many wait, by the name of their priority."""
        return {each.name.lower(): len(self._queues[each]) for each in Priority}


@dataclass(slots=True, eq=False)
class Slot:
    """A worker's session, which takes one request at a time.

    `request_id` is the id of what it works on; after a cancellation it stays until the worker
    answers, while `request` is None.
    """

    identity: bytes
    worker: WorkerEntry
    request: Pending | None = None
    request_id: int | None = None


@dataclass(slots=True, eq=False)
class WorkerEntry:
    """A connected worker. `heard_at` is when its last message came (monotonic clock)."""

    token: bytes
    name: str
    size: int
    heard_at: float
    public_key: str = ""
    control: bytes | None = None  # identity of the connection its heartbeats come from
    leaving: bool = False
    served: int = 0
    slots: dict[bytes, Slot] = field(default_factory=dict)  # by identity
    free: list[Slot] = field(default_factory=list)
    facts: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        return sum(slot.request_id is not None for slot in tuple(self.slots.values()))


class WorkerPool:
    """All workers, and their slots by the identity of the slot's connection."""

    def __init__(self) -> None:
        self.slots: dict[bytes, Slot] = {}
        self._workers: OrderedDict[bytes, WorkerEntry] = OrderedDict()  # least recently used first

    def __iter__(self) -> Iterator[WorkerEntry]:
        return iter(tuple(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)

    def register(self, token: bytes, name: str, size: int, now: float) -> WorkerEntry | None:
        """The worker with this token, new or known; None where there are too many."""
        worker = self._workers.get(token)
        if worker is None:
            if len(self._workers) >= MAX_WORKERS:
                return None
            worker = self._workers[token] = WorkerEntry(token, name, size, now)
        worker.heard_at = now
        return worker

    def add_slot(self, worker: WorkerEntry, identity: bytes) -> Slot | None:
        """A new free slot; None where the worker has as many as it announced."""
        if len(worker.slots) >= worker.size:
            return None
        slot = self.slots[identity] = worker.slots[identity] = Slot(identity, worker)
        self.release(slot)
        return slot

    def take(self) -> Slot | None:
        """A free slot of the least recently used worker; it is no longer free."""
        worker = next((each for each in self._workers.values() if each.free), None)
        if worker is None:
            return None
        self._workers.move_to_end(worker.token)
        return worker.free.pop()

    def release(self, slot: Slot) -> None:
        """The slot's request is over."""
        slot.request = slot.request_id = None
        if not slot.worker.leaving:
            slot.worker.free.append(slot)

    def set_leaving(self, worker: WorkerEntry) -> list[Slot]:
        """Give the worker no more requests; its slots that were free."""
        worker.leaving = True
        free, worker.free = worker.free, []
        return free

    def remove_slot(self, slot: Slot) -> None:
        """Forget a slot; a leaving worker is forgotten with its last one."""
        worker = slot.worker
        self.slots.pop(slot.identity, None)
        worker.slots.pop(slot.identity, None)
        if slot in worker.free:
            worker.free.remove(slot)
        if worker.leaving and not worker.slots:
            self._workers.pop(worker.token, None)

    def remove(self, worker: WorkerEntry) -> list[Slot]:
        """Forget the worker; the slots it had."""
        slots = list(worker.slots.values())
        for slot in slots:
            self.remove_slot(slot)
        self._workers.pop(worker.token, None)
        return slots

    def remove_if_disconnected(self, worker: WorkerEntry) -> None:
        if worker.control is None and not worker.slots:
            self.remove(worker)

    def status(self, now: float) -> tuple[WorkerStatus, ...]:
        return tuple(
            WorkerStatus(
                each.name,
                each.size,
                each.in_flight,
                each.served,
                round(now - each.heard_at, 3),
                dict(each.facts),
            )
            for each in self
        )
