"""The workers of a router: who is free, who has worked least recently. Knows no socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rwkv_rag.types import WorkerStatus

if TYPE_CHECKING:
    from rwkv_rag.bus.backlog import Pending

MAX_WORKERS = 1024


@dataclass(slots=True, eq=False)
class Slot:
    """A connection of a worker that takes one request at a time.

    `request` is None with `busy` while a cancelled request is still being worked on.
    """

    identity: bytes
    worker: Worker
    request: Pending | None = None
    busy: int | None = None  # the id of what it works on


@dataclass(slots=True, eq=False)
class Worker:
    """A worker and its slots; `heard` is when it last said something."""

    token: bytes
    name: str
    size: int
    heard: float
    owner: str = ""  # its public key
    identity: bytes | None = None  # of the connection that its Beats come from
    leaving: bool = False
    served: int = 0
    slots: dict[bytes, Slot] = field(default_factory=dict)
    free: list[Slot] = field(default_factory=list)
    facts: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def in_flight(self) -> int:
        return sum(slot.busy is not None for slot in tuple(self.slots.values()))


class Staff:
    """All workers, and the slots by their connection."""

    def __init__(self) -> None:
        self.slots: dict[bytes, Slot] = {}
        self._workers: dict[bytes, Worker] = {}
        self._idle: dict[bytes, Worker] = {}  # with a free slot, least recently used first

    def __iter__(self) -> Iterator[Worker]:
        return iter(tuple(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)

    def enrol(self, token: bytes, name: str, size: int, now: float) -> Worker | None:
        """The worker with this token, a new one if need be; None where there are too many."""
        worker = self._workers.get(token)
        if worker is None:
            if len(self._workers) >= MAX_WORKERS:
                return None
            worker = self._workers[token] = Worker(token, name, size, now)
        worker.heard = now
        return worker

    def open(self, worker: Worker, identity: bytes) -> Slot | None:
        """A new slot of the worker, free; None where it has more than it spoke of."""
        if len(worker.slots) >= worker.size:
            return None
        slot = self.slots[identity] = worker.slots[identity] = Slot(identity, worker)
        self.release(slot)
        return slot

    def take(self) -> Slot | None:
        """A free slot of the worker that has worked least recently, which is now in use."""
        idle = self._idle
        if not idle:
            return None
        token, worker = next(iter(idle.items()))
        slot = worker.free.pop()
        del idle[token]
        if worker.free:
            idle[token] = worker
        return slot

    def release(self, slot: Slot) -> None:
        """What the slot worked on is over."""
        slot.request = slot.busy = None
        worker = slot.worker
        if not worker.leaving:
            worker.free.append(slot)
            self._idle.setdefault(worker.token, worker)

    def leave(self, worker: Worker) -> list[Slot]:
        """Give the worker nothing more; the slots that were free."""
        worker.leaving = True
        self._idle.pop(worker.token, None)
        free, worker.free = worker.free, []
        return free

    def close(self, slot: Slot) -> None:
        """The slot is gone, and with the last of one that leaves, the worker."""
        worker = slot.worker
        self.slots.pop(slot.identity, None)
        worker.slots.pop(slot.identity, None)
        if slot in worker.free:
            worker.free.remove(slot)
        if not worker.free:
            self._idle.pop(worker.token, None)
        if worker.leaving and not worker.slots:
            self._workers.pop(worker.token, None)

    def dismiss(self, worker: Worker) -> list[Slot]:
        """The worker is gone; its slots."""
        slots = list(worker.slots.values())
        for slot in slots:
            self.close(slot)
        self._workers.pop(worker.token, None)
        return slots

    def status(self, now: float) -> tuple[WorkerStatus, ...]:
        return tuple(
            WorkerStatus(
                each.name,
                each.size,
                each.in_flight,
                each.served,
                round(now - each.heard, 3),
                dict(each.facts),
            )
            for each in self
        )
