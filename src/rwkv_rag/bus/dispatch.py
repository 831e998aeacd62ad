"""What a router decides: who works on which request, and who hears what. Knows no socket.

    request ─▶ a free slot of the worker that has worked least recently, or the backlog, or Busy
    replies ─▶ the client, as long as the slot works on its request; all others are dropped

All it keeps of a client are its requests, of a worker its slots; both are forgotten when the peer
is gone, and whatever a peer says, nothing of another's is touched by it.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from rwkv_rag.bus import codec, message, security
from rwkv_rag.bus.backlog import Backlog, Frame, Pending
from rwkv_rag.bus.message import MAX_ENVELOPE_BYTES, SCHEMA, pack
from rwkv_rag.bus.staff import Slot, Staff, Worker
from rwkv_rag.errors import BadMessage, Busy, DeadlineExceeded, RagError, WorkerLost
from rwkv_rag.types import QueueStatus

MAX_CLIENTS = 4096  # with a request each
MAX_REQUESTS = 64  # of one connection
LATENCIES = 1000
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
PING = pack(message.Ping())

Way: TypeAlias = Callable[[bytes, Any, Any, Any], None]
_log = logging.getLogger(__name__)


class Peers(Protocol):
    """The way to clients and workers."""

    def send(self, identity: bytes, envelope: Frame, body: Frame | None = None) -> None:
        """Raises Gone, and Full where too much waits for the peer."""

    def from_back(self, identity: bytes, frame: Frame) -> bool:
        """Whether a peer, who has sent this frame, came in where workers do."""

    def owner(self, frame: Frame) -> str:
        """The public key of whoever sent a frame; empty where there are no keys."""


class Gone(Exception):
    """No connection has this identity any more."""


class Full(Exception):
    """The peer takes nothing; too much waits for it already."""


class Dispatch:
    """The clients, the workers and what is between them."""

    def __init__(
        self,
        service: str,
        peers: Peers,
        *,
        backlog: int,
        dead_s: float,
        directory: Mapping[str, str],
    ) -> None:
        self._service, self._dead_s = service, dead_s
        self._peers = peers
        self.backlog = Backlog(backlog)
        self.staff = Staff()
        self._clients: dict[bytes, dict[int, Pending]] = {}
        self._shut_out: frozenset[str] = frozenset()
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._served = self._failed = 0
        name = os.urandom(8).hex()
        self._welcome = pack(message.Welcome(SCHEMA, name, service, dict(directory)))
        self._ways: dict[type, Way] = {
            message.Request: self._on_request,
            message.Reply: self._on_reply,
            message.Opened: self._on_reply,
            message.End: self._on_reply,
            message.Fault: self._on_reply,
            message.Credit: self._on_credit,
            message.Cancel: self._on_cancel,
            message.Ping: self._on_ping,
            message.Hello: self._on_hello,
            message.Ask: self._on_ask,
            message.Join: self._on_join,
            message.Beat: self._on_beat,
        }

    def on_message(self, identity: bytes, envelope: Frame, body: Frame | None) -> None:
        """Raises anything where the message is of no use."""
        said = message.to_router.decode(envelope)
        if self._shut_out and self._peers.owner(envelope) in self._shut_out:
            return self._refuse(identity, getattr(said, "id", 0), security.shut_out())
        self._ways[type(said)](identity, said, envelope, body)

    # clients

    def _on_hello(self, client: bytes, hello: message.Hello, *_: Any) -> None:
        if hello.schema == SCHEMA:
            self._to_client(client, self._welcome)
        else:
            self._refuse(client, 0, _other_version(hello.schema))

    def _on_request(
        self, client: bytes, request: message.Request, envelope: Frame, body: Frame | None
    ) -> None:
        if body is None or len(envelope) > MAX_ENVELOPE_BYTES:
            raise BadMessage("a request of another shape")
        asked = self._clients.get(client)
        if asked is None:
            asked = {}
        elif request.id in asked:
            raise BadMessage("a request with the id of another")
        if request.schema != SCHEMA:
            return self._refuse(client, request.id, _other_version(request.schema))
        now = time.monotonic()
        pending = Pending(client, request, envelope, body, now, now + request.deadline_s)
        full = len(asked) >= MAX_REQUESTS or len(self._clients) >= MAX_CLIENTS
        slot = None if full else self.staff.take()
        if full or (slot is None and not self.backlog.add(pending)):
            busy = Busy(
                "{service} has too many requests waiting; try again later", service=self._service
            )
            return self._refuse(client, request.id, busy)
        asked[request.id] = pending
        self._clients[client] = asked
        if slot is not None:
            self._give(pending, slot)
        return None

    def _on_credit(self, client: bytes, credit: message.Credit, envelope: Frame, _: Any) -> None:
        pending = self._find(client, credit.id)
        if pending is not None and pending.slot is not None:
            self._to_worker(pending.slot.identity, envelope)

    def _on_cancel(self, client: bytes, cancel: message.Cancel, *_: Any) -> None:
        pending = self._find(client, cancel.id)
        if pending is not None:
            self._forget(pending)
            self._withdraw(pending)

    def _on_ping(self, client: bytes, ping: message.Ping, *_: Any) -> None:
        known = self._find(client, ping.id) is not None
        self._to_client(client, pack(message.Pong(ping.id, known)))

    def _on_ask(self, client: bytes, ask: message.Ask, *_: Any) -> None:
        self._to_client(client, pack(message.Reply(ask.id, True)), codec.encode(self.status()))

    def _find(self, client: bytes, id: int) -> Pending | None:
        asked = self._clients.get(client)
        return asked.get(id) if asked is not None else None

    def _forget(self, pending: Pending) -> None:
        asked = self._clients.get(pending.client)
        if asked is not None:
            asked.pop(pending.message.id, None)
            if not asked:
                del self._clients[pending.client]

    def _withdraw(self, pending: Pending) -> None:
        """Nobody waits for it any more."""
        slot = pending.slot
        if slot is None:
            self.backlog.remove(pending)
            return
        slot.request = None
        cancel = pack(message.Cancel(pending.message.id))
        self._to_worker(slot.identity, cancel)
        if slot.worker.identity is not None:  # its slot may be computing; its watch never is
            self._to_worker(slot.worker.identity, cancel)

    def _refuse(self, client: bytes, id: int, error: RagError) -> None:
        self._failed += 1
        self._to_client(client, pack(message.Fault(id, *codec.fault(error))))

    def _to_client(self, client: bytes, envelope: Frame, body: Frame | None = None) -> None:
        try:
            self._peers.send(client, envelope, body)
        except (Gone, Full):
            for pending in self._clients.pop(client, {}).values():
                self._withdraw(pending)

    # workers

    def _on_join(self, identity: bytes, join: message.Join, envelope: Frame, _: Any) -> None:
        if (slot := self.staff.slots.get(identity)) is not None:
            slot.worker.heard = time.monotonic()
            return
        worker = self._enrol(identity, join, envelope)
        if worker is None:
            return
        if worker.leaving:
            self._to_worker(identity, pack(message.Goodbye()))
        elif self.staff.open(worker, identity):
            self._serve_next()

    def _on_beat(self, identity: bytes, beat: message.Beat, envelope: Frame, _: Any) -> None:
        worker = self._enrol(identity, beat, envelope)
        if worker is None:
            return
        worker.identity, worker.facts = identity, beat.facts
        if beat.leaving and not worker.leaving:
            for slot in self.staff.leave(worker):
                self._dismiss(slot)

    def _enrol(
        self, identity: bytes, said: message.Join | message.Beat, envelope: Frame
    ) -> Worker | None:
        """The worker that speaks; None where it speaks another language."""
        if not self._peers.from_back(identity, envelope):
            raise BadMessage("a worker where only clients come in")
        if said.schema != SCHEMA:
            fault = message.Fault(0, *codec.fault(_other_version(said.schema)))
            self._to_worker(identity, pack(fault))
            return None
        worker = self.staff.enrol(said.token, said.name, said.slots, time.monotonic())
        if worker is not None:
            worker.owner = self._peers.owner(envelope)
        return worker

    def _on_reply(self, identity: bytes, reply: Any, envelope: Frame, body: Frame | None) -> None:
        """Opened, Reply, End or Fault of a slot."""
        slot = self.staff.slots.get(identity)
        if slot is None or slot.busy != reply.id:
            return  # late: it was given up, or is nobody's
        kind = type(reply)
        last = reply.last if kind is message.Reply else kind is not message.Opened
        pending = slot.request
        if last:  # first of all, work for whoever is free
            self.staff.release(slot)
            if slot.worker.leaving:
                self._dismiss(slot)
            elif self.backlog.size:
                self._serve_next()
        if pending is None:
            return
        if last:
            self._finish(pending, slot.worker, failed=kind is message.Fault)
        elif not pending.begun:
            pending.begin()
        self._to_client(pending.client, envelope, body)

    def _finish(self, pending: Pending, worker: Worker, *, failed: bool) -> None:
        self._forget(pending)
        worker.served += 1
        if failed:
            self._failed += 1
        else:
            self._served += 1
        self._latencies.append(time.monotonic() - pending.arrived)

    def _dismiss(self, slot: Slot) -> None:
        self.staff.close(slot)
        self._to_worker(slot.identity, pack(message.Goodbye()))

    def _serve_next(self) -> None:
        """Give what waits to who is free."""
        while self.backlog.size:
            slot = self.staff.take()
            if slot is None:
                return
            pending = self.backlog.take()
            assert pending is not None
            self._give(pending, slot)

    def _give(self, pending: Pending, slot: Slot) -> None:
        pending.slot, slot.request, slot.busy = slot, pending, pending.message.id
        body = pending.body
        if not pending.outlives(slot.worker.token):
            pending.body = None
        self._to_worker(slot.identity, pending.envelope, body)

    def _to_worker(self, identity: bytes, envelope: Frame, body: Frame | None = None) -> None:
        try:
            self._peers.send(identity, envelope, body)
        except Full:
            pass  # a slot that computes reads nothing; what it must know it has in its queue
        except Gone:
            self._lose(identity)

    def _lose(self, identity: bytes) -> None:
        """The line to a slot or a worker is cut."""
        if slot := self.staff.slots.get(identity):
            self._lose_slot(slot)
            return
        for worker in self.staff:
            if worker.identity == identity:
                worker.identity = None
                self._miss(worker)

    def _miss(self, worker: Worker) -> None:
        """A worker without any line to it is gone."""
        if worker.identity is None and not worker.slots:
            self.staff.dismiss(worker)

    def _lose_slot(self, slot: Slot) -> None:
        self.staff.close(slot)
        self._miss(slot.worker)
        pending = slot.request
        if pending is None:
            return
        pending.slot = None
        if pending.outlives(slot.worker.token) and pending.due > time.monotonic():
            pending.lost_by = slot.worker.token
            self.backlog.put_back(pending)
            self._serve_next()
            return
        self._forget(pending)
        lost = f"the worker {slot.worker.name} of {self._service} was lost; ask again"
        self._refuse(pending.client, pending.message.id, WorkerLost(lost))

    # keys

    def shut_out(self, keys: frozenset[str]) -> None:
        """End what the owners of these keys began, and listen to them no more."""
        if keys == self._shut_out:
            return
        self._shut_out = keys
        for worker in self.staff:
            if worker.owner in keys:
                for slot in self.staff.dismiss(worker):
                    self._lose_slot(slot)
        for asked in tuple(self._clients.values()):
            for pending in tuple(asked.values()):
                if self._peers.owner(pending.envelope) in keys:
                    self._forget(pending)
                    self._withdraw(pending)
                    self._refuse(pending.client, pending.message.id, security.shut_out())

    # time

    def expire(self, now: float) -> None:
        """Answer those that waited too long."""
        for pending in self.backlog.overdue(now):
            self._forget(pending)
            self._refuse(pending.client, pending.message.id, self._overdue(pending))

    def bury(self, now: float) -> None:
        """Give up workers that have been silent for too long."""
        for worker in self.staff:
            if now - worker.heard > self._dead_s:
                _log.warning("%s: worker %s is silent; given up", self._service, worker.name)
                for slot in self.staff.dismiss(worker):
                    self._lose_slot(slot)

    def look(self) -> None:
        """Say something to everybody who is waited for or waits, to learn who is gone."""
        for worker in self.staff:
            if worker.identity is not None:
                self._to_worker(worker.identity, PING)
        for identity in tuple(self.staff.slots):
            self._to_worker(identity, PING)
        for client in tuple(self._clients):
            self._to_client(client, PING)

    def _overdue(self, pending: Pending) -> DeadlineExceeded:
        waited = f"{pending.message.deadline_s:g} s"
        if not len(self.staff):
            return DeadlineExceeded(
                "no worker of {service} was there for {waited}; see `rwkv-rag status`",
                service=self._service,
                waited=waited,
            )
        return DeadlineExceeded(
            "{service} was busy for {waited}; try again later", service=self._service, waited=waited
        )

    @property
    def idle(self) -> bool:
        """Whether no client waits for anything."""
        return not self._clients

    def status(self) -> QueueStatus:
        """The queue as it is now; from any thread."""
        times = sorted(self._latencies.copy())
        waiting = self.backlog.waiting()
        asked = sum(len(asked) for asked in tuple(self._clients.values()))
        last = len(times) - 1
        return QueueStatus(
            service=self._service,
            waiting=waiting,
            in_flight=max(0, asked - sum(waiting.values())),
            served=self._served,
            failed=self._failed,
            latency_s={name: times[int(n * last)] for name, n in SHARES.items()} if times else {},
            workers=self.staff.status(time.monotonic()),
        )


def _other_version(schema: int) -> BadMessage:
    return BadMessage(
        "the other side speaks version {schema} of the bus, this one {schema2}; update both",
        schema=schema,
        schema2=SCHEMA,
    )
