"""What a router decides: which worker gets which request, and who gets which message.

    request ─▶ a free slot of the least recently used worker, or the queue, or Busy
    replies ─▶ the client, as long as the slot works on its request; others are dropped

A peer can only affect its own requests or slots, whatever it sends; they are forgotten when it is
gone. Knows no socket.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

import zmq

from rwkv_rag.bus import codec, message, security
from rwkv_rag.bus.message import MAX_ENVELOPE_BYTES, SCHEMA, pack
from rwkv_rag.bus.queues import Frame, Pending, RequestQueue, Slot, WorkerEntry, WorkerPool
from rwkv_rag.errors import BadMessage, Busy, DeadlineExceeded, RagError, WorkerLost
from rwkv_rag.types import QueueStatus

MAX_CLIENTS = 4096  # with a request each
MAX_REQUESTS = 64  # of one connection
LATENCIES_KEPT = 1000
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
PING = pack(message.Ping())

MessageHandler: TypeAlias = Callable[[bytes, Any, Any, Any], None]
_log = logging.getLogger(__name__)


class Peers(Protocol):
    """The socket to all clients, or to all workers."""

    def send(self, identity: bytes, envelope: Frame, body: Frame | None = None) -> None:
        """Raises PeerGone, and PeerBusy where too much waits for the peer already."""


class PeerGone(Exception):
    """No connection has this identity any more."""


class PeerBusy(Exception):
    """The peer does not read, and its queue is full."""


class Dispatcher:
    """Keeps clients' requests and workers' slots, and matches them."""

    def __init__(
        self,
        service: str,
        clients: Peers,
        workers: Peers,
        *,
        backlog: int,
        dead_s: float,
        directory: Mapping[str, str],
    ) -> None:
        self._service, self._dead_s = service, dead_s
        self._client_socket, self._worker_socket = clients, workers
        self.queue = RequestQueue(backlog)
        self.workers = WorkerPool()
        self._requests: dict[bytes, dict[int, Pending]] = {}  # by client, then by id
        self._revoked: frozenset[str] = frozenset()
        self._latencies: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._served = self._failed = 0
        name = os.urandom(8).hex()
        self._welcome = pack(message.Welcome(SCHEMA, name, service, dict(directory)))
        self._client_handlers: dict[type, MessageHandler] = {
            message.Request: self._on_request,
            message.Credit: self._on_credit,
            message.Cancel: self._on_cancel,
            message.Ping: self._on_ping,
            message.Hello: self._on_hello,
            message.StatusRequest: self._on_status_request,
        }
        self._worker_handlers: dict[type, MessageHandler] = {
            message.Reply: self._on_reply,
            message.Opened: self._on_reply,
            message.End: self._on_reply,
            message.Fault: self._on_reply,
            message.Join: self._on_join,
            message.Heartbeat: self._on_heartbeat,
        }

    def on_client_message(self, identity: bytes, envelope: Frame, body: Frame | None) -> None:
        """Raises anything where the message is unusable."""
        received = message.from_client.decode(envelope)
        if self._is_revoked(envelope):
            return self._refuse(identity, getattr(received, "id", 0), security.key_revoked())
        self._client_handlers[type(received)](identity, received, envelope, body)

    def on_worker_message(self, identity: bytes, envelope: Frame, body: Frame | None) -> None:
        """Raises anything where the message is unusable."""
        received = message.from_worker.decode(envelope)
        if self._is_revoked(envelope):
            return self._to_worker(identity, _fault(0, security.key_revoked()))
        self._worker_handlers[type(received)](identity, received, envelope, body)

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
            raise BadMessage("a request without a body, or too long")
        requests = self._requests.get(client, {})
        if request.id in requests:
            raise BadMessage("a request with the id of another")
        if request.schema != SCHEMA:
            return self._refuse(client, request.id, _other_version(request.schema))
        now = time.monotonic()
        pending = Pending(client, request, envelope, body, now, now + request.deadline_s)
        full = len(requests) >= MAX_REQUESTS or len(self._requests) >= MAX_CLIENTS
        if full or not self.queue.add(pending):
            busy = Busy(
                "{service} has too many requests waiting; try again later", service=self._service
            )
            return self._refuse(client, request.id, busy)
        requests[request.id] = pending
        self._requests[client] = requests
        self._assign_waiting()

    def _on_credit(self, client: bytes, credit: message.Credit, envelope: Frame, _: Any) -> None:
        pending = self._requests.get(client, {}).get(credit.id)
        if pending is not None and pending.slot is not None:
            self._to_worker(pending.slot.identity, envelope)

    def _on_cancel(self, client: bytes, cancel: message.Cancel, *_: Any) -> None:
        pending = self._requests.get(client, {}).get(cancel.id)
        if pending is not None:
            self._forget(pending)
            self._withdraw(pending)

    def _on_ping(self, client: bytes, ping: message.Ping, *_: Any) -> None:
        known = ping.id in self._requests.get(client, {})
        self._to_client(client, pack(message.Pong(ping.id, known)))

    def _on_status_request(self, client: bytes, asked: message.StatusRequest, *_: Any) -> None:
        self._to_client(client, pack(message.Reply(asked.id, True)), codec.encode(self.status()))

    def _forget(self, pending: Pending) -> None:
        requests = self._requests.get(pending.client)
        if requests is not None:
            requests.pop(pending.message.id, None)
            if not requests:
                del self._requests[pending.client]

    def _withdraw(self, pending: Pending) -> None:
        """Take it from the queue, or tell the worker to cancel it."""
        slot = pending.slot
        if slot is None:
            self.queue.remove(pending)
            return
        slot.request = None
        cancel = pack(message.Cancel(pending.message.id))
        self._to_worker(slot.identity, cancel)
        if slot.worker.control is not None:  # its session may be computing and not reading
            self._to_worker(slot.worker.control, cancel)

    def _fail(self, pending: Pending, error: RagError) -> None:
        self._forget(pending)
        self._refuse(pending.client, pending.message.id, error)

    def _refuse(self, client: bytes, id: int, error: RagError) -> None:
        self._failed += 1
        self._to_client(client, _fault(id, error))

    def _to_client(self, client: bytes, envelope: Frame, body: Frame | None = None) -> None:
        try:
            self._client_socket.send(client, envelope, body)
        except (PeerGone, PeerBusy):
            for pending in self._requests.pop(client, {}).values():
                self._withdraw(pending)

    # workers

    def _on_join(self, identity: bytes, join: message.Join, envelope: Frame, _: Any) -> None:
        if (slot := self.workers.slots.get(identity)) is not None:
            slot.worker.heard_at = time.monotonic()
            return
        worker = self._register(identity, join, envelope)
        if worker is None:
            return
        if worker.leaving:
            self._to_worker(identity, pack(message.Goodbye()))
        elif self.workers.add_slot(worker, identity):
            self._assign_waiting()

    def _on_heartbeat(
        self, identity: bytes, beat: message.Heartbeat, envelope: Frame, _: Any
    ) -> None:
        worker = self._register(identity, beat, envelope)
        if worker is None:
            return
        worker.control, worker.facts = identity, beat.facts
        if beat.leaving and not worker.leaving:
            for slot in self.workers.set_leaving(worker):
                self._dismiss(slot)

    def _register(
        self, identity: bytes, hello: message.Join | message.Heartbeat, envelope: Frame
    ) -> WorkerEntry | None:
        """The worker that sent it; None where it has another version or there are too many."""
        if hello.schema != SCHEMA:
            self._to_worker(identity, _fault(0, _other_version(hello.schema)))
            return None
        now = time.monotonic()
        worker = self.workers.register(hello.token, hello.name, hello.slots, now)
        if worker is not None:
            worker.public_key = _public_key(envelope)
        return worker

    def _on_reply(self, identity: bytes, reply: Any, envelope: Frame, body: Frame | None) -> None:
        """Opened, Reply, End or Fault from a slot."""
        slot = self.workers.slots.get(identity)
        if slot is None or slot.request_id != reply.id:
            return  # late, or to nobody's request
        kind = type(reply)
        last = reply.last if kind is message.Reply else kind is not message.Opened
        pending = slot.request
        if last:  # before anything else, give the free slot its next request
            self.workers.release(slot)
            if slot.worker.leaving:
                self._dismiss(slot)
            else:
                self._assign_waiting()
        if pending is None:
            return
        if last:
            self._forget(pending)
            slot.worker.served += 1
            self._failed += kind is message.Fault
            self._served += kind is not message.Fault
            self._latencies.append(time.monotonic() - pending.arrived)
        else:
            pending.replied, pending.body = True, None
        self._to_client(pending.client, envelope, body)

    def _dismiss(self, slot: Slot) -> None:
        self.workers.remove_slot(slot)
        self._to_worker(slot.identity, pack(message.Goodbye()))

    def _assign_waiting(self) -> None:
        """Give waiting requests to free slots."""
        while len(self.queue) and (slot := self.workers.take()) is not None:
            pending = self.queue.take()
            pending.slot, slot.request, slot.request_id = slot, pending, pending.message.id
            body = pending.body
            if not pending.may_repeat(slot.worker.token):
                pending.body = None
            self._to_worker(slot.identity, pending.envelope, body)

    def _to_worker(self, identity: bytes, envelope: Frame, body: Frame | None = None) -> None:
        try:
            self._worker_socket.send(identity, envelope, body)
        except PeerBusy:
            pass  # a session that computes does not read; what it must know is queued already
        except PeerGone:
            self._on_lost_connection(identity)

    def _on_lost_connection(self, identity: bytes) -> None:
        if slot := self.workers.slots.get(identity):
            self._on_lost_slot(slot)
            return
        for worker in self.workers:
            if worker.control == identity:
                worker.control = None
                self.workers.remove_if_disconnected(worker)

    def _remove_worker(self, worker: WorkerEntry) -> None:
        for slot in self.workers.remove(worker):
            self._on_lost_slot(slot)

    def _on_lost_slot(self, slot: Slot) -> None:
        """Give its request to another worker if that is safe, else tell the client."""
        self.workers.remove_slot(slot)
        self.workers.remove_if_disconnected(slot.worker)
        pending = slot.request
        if pending is None:
            return
        pending.slot = None
        if pending.may_repeat(slot.worker.token) and pending.due > time.monotonic():
            pending.lost_by = slot.worker.token
            self.queue.put_back(pending)
            self._assign_waiting()
            return
        lost = WorkerLost(
            "the worker {worker} of {service} was lost; ask again",
            worker=slot.worker.name,
            service=self._service,
        )
        self._fail(pending, lost)

    # keys

    def _is_revoked(self, envelope: Frame) -> bool:
        return bool(self._revoked) and _public_key(envelope) in self._revoked

    def revoke(self, keys: frozenset[str]) -> None:
        """End the requests and slots of the owners of these keys, and ignore them from now on."""
        if keys == self._revoked:
            return
        self._revoked = keys
        for worker in self.workers:
            if worker.public_key in keys:
                self._remove_worker(worker)
        for requests in tuple(self._requests.values()):
            for pending in tuple(requests.values()):
                if _public_key(pending.envelope) in keys:
                    self._withdraw(pending)
                    self._fail(pending, security.key_revoked())

    # regular work

    def expire(self, now: float) -> None:
        """Answer the requests that waited too long."""
        for pending in self.queue.take_overdue(now):
            self._fail(pending, self._overdue(pending))

    def remove_silent_workers(self, now: float) -> None:
        """Treat workers that were silent for too long as lost."""
        for worker in self.workers:
            if now - worker.heard_at > self._dead_s:
                _log.warning("%s: worker %s is silent; given up", self._service, worker.name)
                self._remove_worker(worker)

    def probe(self) -> None:
        """Send something to every peer that matters, to learn which connections are gone."""
        for worker in self.workers:
            if worker.control is not None:
                self._to_worker(worker.control, PING)
        for identity in tuple(self.workers.slots):
            self._to_worker(identity, PING)
        for client in tuple(self._requests):
            self._to_client(client, PING)

    def _overdue(self, pending: Pending) -> DeadlineExceeded:
        values = {"service": self._service, "seconds": pending.message.deadline_s}
        if not len(self.workers):
            return DeadlineExceeded(
                "no worker of {service} was there for {seconds:g} s; see `rwkv-rag status`",
                **values,
            )
        return DeadlineExceeded("{service} was busy for {seconds:g} s; try again later", **values)

    def status(self) -> QueueStatus:
        """The queue as it is now; from any thread."""
        times = sorted(self._latencies.copy())
        waiting = self.queue.lengths()
        requests = sum(len(each) for each in tuple(self._requests.values()))
        last = len(times) - 1
        return QueueStatus(
            service=self._service,
            waiting=waiting,
            in_flight=max(0, requests - sum(waiting.values())),
            served=self._served,
            failed=self._failed,
            latency_s={n: times[int(p * last)] for n, p in PERCENTILES.items()} if times else {},
            workers=self.workers.status(time.monotonic()),
        )


def _public_key(frame: Frame) -> str:
    """The public key of the connection a frame came by; empty where there are no keys."""
    try:
        return str(frame.get("User-Id"))
    except (zmq.ZMQError, AttributeError):
        return ""


def _fault(id: int, error: RagError) -> bytes:
    return pack(message.Fault(id, *codec.fault(error)))


def _other_version(schema: int) -> BadMessage:
    return BadMessage(
        "the other side speaks version {theirs} of the bus, this one {ours}; update both",
        theirs=schema,
        ours=SCHEMA,
    )
