"""The router of a service: clients in front, workers behind, and what waits between them.

It decodes envelopes and forwards bodies as they are; it knows no value and no method. One thread
runs it, and what it keeps of a client are its requests, of a worker its slots: both are forgotten
when the peer is gone.

    request ─▶ a free slot of the worker that has worked least recently, or the backlog, or Busy
    replies ─▶ the client, as long as the slot works on its request; all others are dropped
"""

from __future__ import annotations

import logging
import os
import socket as sockets
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, TypeAlias

import zmq

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.backlog import Backlog, Pending
from rwkv_rag.bus.connection import LARGE_BYTES, prepare
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.bus.security import RouterSecurity, guard
from rwkv_rag.bus.staff import Slot, Staff, Worker
from rwkv_rag.errors import (
    BadMessage,
    Busy,
    DeadlineExceeded,
    InputError,
    RagError,
    WorkerLost,
)
from rwkv_rag.types import QueueStatus

MAX_CLIENTS = 4096  # with a request each
MAX_REQUESTS = 64  # of one connection
BATCH = 64  # messages that are taken from one side before the other has its turn
WAITING_TICK_S = 0.05
SUSPICION_S = (0.0, 0.02, 0.1)  # after a line was cut: when to look who was on it
SNDHWM = 512  # more than a slow client's credit and pings
LATENCIES = 1000

_log = logging.getLogger(__name__)
Socket: TypeAlias = "zmq.Socket[bytes]"


class Router:
    """Binds `front` for clients and `back` for workers at once; serves them while `run` runs."""

    def __init__(
        self,
        service: str,
        front: str,
        back: str,
        *,
        backlog: int = 256,
        security: RouterSecurity | None = None,
        directory: Mapping[str, str] | None = None,
        context: zmq.Context[Socket] | None = None,
        beat_s: float = 1.0,
        dead_s: float = 5.0,
    ) -> None:
        self.service = service
        self._directory = dict(directory or {})
        self._beat_s, self._dead_s = beat_s, dead_s
        self._clients: dict[bytes, dict[int, Pending]] = {}
        self._staff = Staff()
        self._backlog = Backlog(backlog)
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._served = self._failed = self._garbage = self._late = 0
        self._garbage_logged = 0.0
        self._looks: deque[float] = deque()
        self._stopping = False
        self._name = os.urandom(8).hex()
        self._welcome = pack(message.Welcome(SCHEMA, self._name, service, self._directory))
        self._context = context or zmq.Context()
        self._open = ExitStack()
        if context is None:
            self._open.callback(self._context.term)
        try:
            self._bind(front, back, security)
        except BaseException:
            self._open.close()
            raise

    def _bind(self, front: str, back: str, security: RouterSecurity | None) -> None:
        if security is not None:
            self._open.enter_context(guard(self._context, security))
        self._front, self.front = self._bound(front, security)
        self._back, self.back = self._bound(back, security)
        self._front_cuts = self._watched(self._front)
        self._back_cuts = self._watched(self._back)
        self._woken, self._waker = sockets.socketpair()
        self._open.callback(self._woken.close)
        self._open.callback(self._waker.close)

    def _bound(self, url: str, security: RouterSecurity | None) -> tuple[Socket, str]:
        """A ROUTER at `url` and where it really is."""
        address = Address.parse(url)
        socket = self._context.socket(zmq.ROUTER)
        self._open.callback(socket.close, 0)
        prepare(socket, address, security, self._dead_s)
        socket.router_mandatory = True
        socket.sndhwm = SNDHWM
        try:
            socket.bind(address.url)
        except zmq.ZMQError as error:
            raise _unusable(address, error) from error
        if address.scheme != "tcp" or address.port:
            return socket, address.url
        port = int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2])
        return socket, replace(address, port=port).url

    def _watched(self, socket: Socket) -> Socket:
        """Tells when a line to `socket` was cut, but not whose."""
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._open.callback(monitor.close, 0)
        self._open.callback(socket.disable_monitor)
        return monitor

    # running

    def run(self) -> None:
        """Serve until `stop`; closes everything at its end."""
        poller = zmq.Poller()
        for each in (self._front, self._back, self._front_cuts, self._back_cuts):
            poller.register(each, zmq.POLLIN)
        poller.register(self._woken.fileno(), zmq.POLLIN)
        ways: dict[Any, Callable[[], None]] = {
            self._front: self._drain_front,
            self._back: self._drain_back,
            self._front_cuts: lambda: self._suspect(self._front_cuts),
            self._back_cuts: lambda: self._suspect(self._back_cuts),
        }
        _log.info("%s: clients at %s, workers at %s", self.service, self.front, self.back)
        self._next_beat = self._next_roll = time.monotonic()
        try:
            while not self._stopping:
                for socket, _ in poller.poll(self._pause_ms()):
                    if way := ways.get(socket):
                        way()
                self._tick(time.monotonic())
        finally:
            self.close()

    def stop(self) -> None:
        """End `run`; from any thread or a signal handler."""
        self._stopping = True
        with suppress(OSError):  # closed already
            self._waker.send(b"x")

    def close(self) -> None:
        """Let go of the sockets; `run` does it at its end."""
        self._open.close()

    def _pause_ms(self) -> int:
        """How long nothing is to be done but what messages ask for."""
        if self._looks:
            return 10
        if self._backlog.size:
            return int(WAITING_TICK_S * 1000)
        return max(1, int((self._next_beat - time.monotonic()) * 1000))

    def _drain_front(self) -> None:
        self._drain(self._front, message.from_client.decode, self._FRONT)

    def _drain_back(self) -> None:
        self._drain(self._back, message.from_worker.decode, self._BACK)

    def _drain(self, socket: Socket, decode: Any, ways: Mapping[type, Any]) -> None:
        receive = socket.recv_multipart
        try:
            for _ in range(BATCH):
                frames = receive(zmq.NOBLOCK)
                try:
                    envelope = decode(frames[1])
                    ways[type(envelope)](self, envelope, frames)
                except Exception as error:
                    self._on_garbage(error)
        except zmq.Again:
            pass

    def _on_garbage(self, error: Exception) -> None:
        """Whatever a peer says, the others go on being served."""
        self._garbage += 1
        if time.monotonic() - self._garbage_logged > 1:
            self._garbage_logged = time.monotonic()
            _log.warning("%s: message number %d of no use: %r", self.service, self._garbage, error)

    # clients

    def _on_hello(self, hello: message.Hello, frames: list[bytes]) -> None:
        if hello.schema != SCHEMA:
            self._refuse(frames[0], 0, _other_version(hello.schema))
        else:
            self._to_client(frames[0], self._welcome)

    def _on_request(self, request: message.Request, frames: list[bytes]) -> None:
        client, envelope, body = frames
        asked = self._clients.get(client)
        if asked is None:
            asked = {}
        elif request.id in asked:
            raise BadMessage("a request with the id of another")
        if request.schema != SCHEMA:
            return self._refuse(client, request.id, _other_version(request.schema))
        if len(envelope) > message.MAX_ENVELOPE_BYTES:
            raise BadMessage("too long an envelope")
        if len(asked) >= MAX_REQUESTS or len(self._clients) >= MAX_CLIENTS:
            return self._refuse(client, request.id, Busy(_too_many(self.service)))
        now = time.monotonic()
        pending = Pending(client, request, envelope, body, now, now + request.deadline_s)
        slot = self._staff.take()
        if slot is None and not self._backlog.add(pending):
            return self._refuse(client, request.id, Busy(_too_many(self.service)))
        asked[request.id] = pending
        self._clients[client] = asked
        if slot is not None:
            self._give(pending, slot)
        return None

    def _on_credit(self, credit: message.Credit, frames: list[bytes]) -> None:
        pending = self._find(frames[0], credit.id)
        if pending is not None and pending.slot is not None:
            self._to_worker(pending.slot.identity, frames[1])

    def _on_cancel(self, cancel: message.Cancel, frames: list[bytes]) -> None:
        pending = self._find(frames[0], cancel.id)
        if pending is not None:
            self._forget(pending)
            self._withdraw(pending)

    def _on_ping(self, ping: message.Ping, frames: list[bytes]) -> None:
        known = self._find(frames[0], ping.id) is not None
        self._to_client(frames[0], pack(message.Pong(ping.id, known)))

    def _on_ask(self, ask: message.Ask, frames: list[bytes]) -> None:
        body = codec.encode(self.status())
        self._to_client(frames[0], pack(message.Reply(ask.id, True)), body)

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
            self._backlog.remove(pending)
            return
        slot.request = None
        cancel = pack(message.Cancel(pending.message.id))
        self._to_worker(slot.identity, cancel)
        if slot.worker.identity is not None:  # its slot may be busy; this thread of it is not
            self._to_worker(slot.worker.identity, cancel)

    def _refuse(self, client: bytes, id: int, error: RagError) -> None:
        self._failed += 1
        self._to_client(client, pack(message.Fault(id, *codec.fault(error))))

    def _to_client(self, client: bytes, *frames: bytes) -> None:
        copy = len(frames[-1]) < LARGE_BYTES
        try:
            self._front.send_multipart((client, *frames), zmq.NOBLOCK, copy)
        except zmq.ZMQError:  # gone, or it reads nothing of all that waits for it
            self._lose_client(client)

    def _lose_client(self, client: bytes) -> None:
        for pending in self._clients.pop(client, {}).values():
            self._withdraw(pending)

    # workers

    def _on_slot(self, hello: message.Hello, frames: list[bytes]) -> None:
        identity = frames[0]
        worker = self._enrol(identity, hello)
        if worker is None or identity in self._staff.slots:
            return
        if worker.leaving:
            self._to_worker(identity, pack(message.Goodbye()))
        elif slot := self._staff.open(worker, identity):
            self._serve_next(slot)

    def _on_beat(self, beat: message.Beat, frames: list[bytes]) -> None:
        if beat.leaving and self._staff.worker(beat.token) is None:
            return
        worker = self._enrol(frames[0], beat)
        if worker is None:
            return
        worker.identity, worker.facts = frames[0], beat.facts
        if beat.leaving and not worker.leaving:
            for slot in self._staff.leave(worker):
                self._dismiss_slot(slot)

    def _enrol(self, identity: bytes, said: message.Hello | message.Beat) -> Worker | None:
        if said.schema != SCHEMA:
            fault = message.Fault(0, *codec.fault(_other_version(said.schema)))
            self._to_worker(identity, pack(fault))
            return None
        return self._staff.enrol(said.token, said.name, said.slots, time.monotonic())

    def _on_reply(self, reply: Any, frames: list[bytes]) -> None:
        """Opened, Reply, End or Fault of a slot."""
        slot = self._staff.slots.get(frames[0])
        if slot is None or slot.busy != reply.id:
            self._late += 1
            return
        pending = slot.request
        kind = type(reply)
        last = (
            kind is message.End or kind is message.Fault or (kind is message.Reply and reply.last)
        )
        if pending is not None:
            if last:
                self._finish(pending, failed=kind is message.Fault)
                slot.worker.served += 1
            else:
                pending.begun, pending.body = True, b""
            self._to_client(pending.client, *frames[1:])
        if last:
            self._release(slot)

    def _finish(self, pending: Pending, *, failed: bool) -> None:
        self._forget(pending)
        if failed:
            self._failed += 1
        else:
            self._served += 1
        self._latencies.append(time.monotonic() - pending.arrived)

    def _release(self, slot: Slot) -> None:
        self._staff.release(slot)
        if slot.worker.leaving:
            self._dismiss_slot(slot)
        elif self._backlog.size:
            self._serve_next(slot)

    def _dismiss_slot(self, slot: Slot) -> None:
        self._staff.close(slot)
        self._to_worker(slot.identity, pack(message.Goodbye()))

    def _serve_next(self, _: Slot | None = None) -> None:
        """Give what waits to who is free."""
        while self._backlog.size:
            slot = self._staff.take()
            if slot is None:
                return
            pending = self._backlog.take()
            assert pending is not None
            self._give(pending, slot)

    def _give(self, pending: Pending, slot: Slot) -> None:
        pending.slot, slot.request, slot.busy = slot, pending, pending.message.id
        self._to_worker(slot.identity, pending.envelope, pending.body)
        if not pending.repeatable:
            pending.body = b""

    def _to_worker(self, identity: bytes, *frames: bytes) -> None:
        copy = len(frames[-1]) < LARGE_BYTES
        try:
            self._back.send_multipart((identity, *frames), zmq.NOBLOCK, copy)
        except zmq.ZMQError as error:
            if error.errno != zmq.EAGAIN:
                self._lose(identity)

    def _lose(self, identity: bytes) -> None:
        """The line to a slot or a worker is cut."""
        if slot := self._staff.slots.get(identity):
            self._lose_slot(slot)
            return
        for worker in self._staff:
            if worker.identity == identity:
                worker.identity = None
                if not worker.slots:
                    self._staff.dismiss(worker)

    def _lose_slot(self, slot: Slot) -> None:
        self._staff.close(slot)
        pending = slot.request
        if pending is None:
            return
        pending.slot = None
        if pending.repeatable and pending.due > time.monotonic():
            pending.again = True
            self._backlog.put_back(pending)
            self._serve_next()
            return
        self._forget(pending)
        lost = (
            f"the worker {slot.worker.name} of {self.service} was lost while it worked; ask again"
        )
        self._refuse(pending.client, pending.message.id, WorkerLost(lost))

    # time

    def _suspect(self, monitor: Socket) -> None:
        """Lines were cut: look soon, and again in case the sockets do not know it yet."""
        try:
            while True:
                monitor.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            pass
        now = time.monotonic()
        self._looks = deque(now + delay for delay in SUSPICION_S)

    def _tick(self, now: float) -> None:
        """What time asks for."""
        if self._looks and now >= self._looks[0]:
            while self._looks and now >= self._looks[0]:
                self._looks.popleft()
            self._look()
        if self._backlog.size:
            for pending in self._backlog.overdue(now):
                self._forget(pending)
                self._refuse(pending.client, pending.message.id, self._overdue(pending))
        if now >= self._next_beat:
            self._next_beat = now + self._beat_s
            self._beat(now)

    def _beat(self, now: float) -> None:
        for worker in self._staff:
            if now - worker.heard > self._dead_s:
                _log.warning("%s: worker %s is silent; given up", self.service, worker.name)
                for slot in self._staff.dismiss(worker):
                    self._lose_slot(slot)
        if now >= self._next_roll:
            self._next_roll = now + self._dead_s
            self._look()

    def _look(self) -> None:
        """Say something to everybody who is waited for, to learn who is gone."""
        ping = pack(message.Ping())
        for worker in self._staff:
            if worker.identity is not None:
                self._to_worker(worker.identity, ping)
        for slot in tuple(self._staff.slots.values()):
            self._to_worker(slot.identity, ping)
        for client in tuple(self._clients):
            self._to_client(client, ping)

    def _overdue(self, pending: Pending) -> DeadlineExceeded:
        waited = f"{pending.message.deadline_s:g} s"
        if not len(self._staff):
            return DeadlineExceeded(
                f"no worker of {self.service} was there for {waited}; see `rwkv-rag status`"
            )
        return DeadlineExceeded(f"{self.service} was busy for {waited}; try again later")

    def status(self) -> QueueStatus:
        """The queue as it is now; from any thread."""
        times = sorted(self._latencies.copy())
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99} if times else {}
        return QueueStatus(
            service=self.service,
            waiting=self._backlog.waiting(),
            in_flight=sum(len(asked) for asked in tuple(self._clients.values()))
            - self._backlog.size,
            served=self._served,
            failed=self._failed,
            latency_s={
                name: times[int(share * (len(times) - 1))] for name, share in shares.items()
            },
            workers=self._staff.status(time.monotonic()),
        )

    _FRONT: Mapping[type, Any] = {
        message.Request: _on_request,
        message.Credit: _on_credit,
        message.Cancel: _on_cancel,
        message.Ping: _on_ping,
        message.Hello: _on_hello,
        message.Ask: _on_ask,
    }
    _BACK: Mapping[type, Any] = {
        message.Reply: _on_reply,
        message.Opened: _on_reply,
        message.End: _on_reply,
        message.Fault: _on_reply,
        message.Beat: _on_beat,
        message.Hello: _on_slot,
    }


def _other_version(schema: int) -> BadMessage:
    return BadMessage(
        f"the other side speaks version {schema} of the bus, this one {SCHEMA}; update both"
    )


def _too_many(service: str) -> str:
    return f"{service} has too many requests waiting; try again later"


def _unusable(address: Address, error: zmq.ZMQError) -> RagError:
    """Why the address cannot be bound."""
    if error.errno == zmq.EADDRINUSE:
        return Busy(f"the address {address.url} is in use by another program")
    return InputError(f"the address {address.url} cannot be used: {error.strerror}")
