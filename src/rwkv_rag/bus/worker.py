"""A worker of a service: joins a router and answers its requests with a handler.

Each of its sessions is a thread with a connection of its own, on which it answers one request after
another. The thread that runs the worker reports once a second that it is alive, receives
cancellations while the sessions compute, and watches for requests that do not end. Knows no method
and no value.
"""

from __future__ import annotations

import logging
import os
import socket as sockets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias, TypeVar

import zmq

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import Closed, Connection, Context, Disconnected
from rwkv_rag.bus.message import SCHEMA, WINDOW, pack
from rwkv_rag.bus.security import PeerSecurity, require_keys
from rwkv_rag.bus.transport import Handler
from rwkv_rag.errors import BadMessage, DeadlineExceeded, Internal, RagError

T = TypeVar("T")
Facts: TypeAlias = Mapping[str, str | int | float]
LEAVING_S = 0.1  # between two heartbeats of a worker that is leaving
IDLE_STREAM_S = 600.0  # a stream from which nothing is fetched for so long is ended
EXIT_STUCK = 70  # exit status: a mistake in the program
_NO_MORE = object()

_log = logging.getLogger(__name__)


def exit_stuck() -> None:
    """For `on_stuck` in a process of its own: exit at once, for a supervisor to start a new one."""
    _log.critical("a request did not end after it was cancelled; this process ends")
    logging.shutdown()
    os._exit(EXIT_STUCK)


def _warn_stuck() -> None:
    _log.critical("a request did not end after it was cancelled; its session is lost")


class Worker:
    """Answers up to `slots` requests at once.

    facts      asked once every `beat_s` for what the router's status shows of this worker
    stuck_s    `on_stuck` is called for a request that goes on for so long after it was cancelled
    dead_s     without a router for so long, requests are cancelled: nobody would get the reply
    """

    def __init__(
        self,
        handler: Handler,
        back: str,
        *,
        name: str,
        slots: int = 1,
        facts: Callable[[], Facts] = dict,
        security: PeerSecurity | None = None,
        stuck_s: float = 30.0,
        on_stuck: Callable[[], None] = _warn_stuck,
        context: Context | None = None,
        beat_s: float = 1.0,
        dead_s: float = 5.0,
    ) -> None:
        address = Address.parse(back)
        require_keys(address, security)
        self._back, self._security = address.url, security
        self._name, self._facts = name, facts
        self._stuck_s, self._on_stuck = stuck_s, on_stuck
        self._beat_s, self._dead_s = beat_s, dead_s
        self._owns_context = context is None
        self._context = context or zmq.Context()
        self._token = os.urandom(16)
        join = pack(message.Join(SCHEMA, self._token, name, slots))
        self._sessions = [_Session(handler, self._connect, join, name) for _ in range(slots)]
        self._connected, self._connected_at = False, time.monotonic()
        self._stop_at: float | None = None  # when `stop` waits no longer
        self._wake_receiver, self._wake_sender = sockets.socketpair()

    def run(self) -> None:
        """Work until `stop`.

        Raises BadMessage where the router speaks another version, NotAllowed where it refuses the
        keys of this worker.
        """
        threads = [
            threading.Thread(target=each.run, name=f"{self._name} {number}", daemon=True)
            for number, each in enumerate(self._sessions)
        ]
        self._control = self._connect()
        try:
            for thread in threads:
                thread.start()
            self._watch(threads)
        finally:
            self._end(threads)

    def stop(self, drain_s: float = 30.0) -> None:
        """End `run`: take no new requests, finish the current ones within `drain_s`.

        From any thread or a signal handler.
        """
        self._stop_at = time.monotonic() + drain_s
        with suppress(OSError):  # ended already
            self._wake_sender.send(b"x")

    def _connect(self) -> Connection:
        try:
            return Connection(
                self._context,
                self._back,
                security=self._security,
                decode=message.to_worker.decode,
                receive_s=self._beat_s,
                send_s=self._dead_s,
                silence_s=self._dead_s,
            )
        except zmq.ZMQError as error:
            raise Closed from error

    def _watch(self, threads: list[threading.Thread]) -> None:
        """What the control connection is for, until all sessions have ended."""
        poller = zmq.Poller()
        poller.register(self._control.socket, zmq.POLLIN)
        poller.register(self._wake_receiver.fileno(), zmq.POLLIN)
        next_beat, reported_leaving = 0.0, False
        self._control.wait_writable()
        while any(thread.is_alive() for thread in threads):
            now = time.monotonic()
            leaving = self._stop_at is not None
            if now >= next_beat or leaving != reported_leaving:
                # Repeated quickly while leaving: a session that joins late must be dismissed too.
                next_beat = now + (min(LEAVING_S, self._beat_s) if leaving else self._beat_s)
                reported_leaving = leaving
                self._send_heartbeat(leaving)
                self._report_stuck(now)
            if self._stop_at is not None:
                if now >= self._stop_at:
                    return
                if not self._connected:  # no router that would dismiss the idle sessions
                    self._end_idle()
            wait = 20 if leaving else max(1, int((next_beat - now) * 1000))
            for source, _ in poller.poll(wait):
                if source is self._control.socket:
                    self._receive()
                else:
                    self._wake_receiver.recv(64)

    def _send_heartbeat(self, leaving: bool) -> None:
        try:
            facts = dict(self._facts())
        except Exception:
            _log.exception("%s: the facts for the status failed", self._name)
            facts = {}
        slots, now = len(self._sessions), time.monotonic()
        beat = message.Heartbeat(SCHEMA, self._token, self._name, slots, leaving, facts)
        try:
            self._control.send(pack(beat), wait=False)
            self._connected, self._connected_at = True, now
        except Disconnected:
            self._connected = False
            self._control.check_keys()
            if now - self._connected_at > self._dead_s:
                self._cancel()

    def _receive(self) -> None:
        try:
            received = self._control.receive(0)
        except BadMessage as error:
            _log.warning("%s: %s", self._name, error)
            return
        order = received[0] if received else None
        if type(order) is message.Cancel:
            self._cancel(order.id)
        elif type(order) is message.Fault:
            raise codec.raised(order.code, order.message)

    def _requests(self) -> list[_Request]:
        """The requests that are being answered."""
        return [request for each in self._sessions if (request := each.request) is not None]

    def _cancel(self, id: int | None = None) -> None:
        """Cancel the request with this id, or all of them."""
        for request in self._requests():
            if id in (None, request.id):
                request.cancel()

    def _report_stuck(self, now: float) -> None:
        for request in self._requests():
            cancelled_at = request.cancelled_at
            if cancelled_at is None or request.reported or now - cancelled_at <= self._stuck_s:
                continue
            request.reported = True
            self._on_stuck()

    def _end_idle(self) -> None:
        for session in self._sessions:
            session.ending = True

    def _end(self, threads: list[threading.Thread]) -> None:
        """Close everything; a thread that still computes is left, and ends with the process."""
        self._end_idle()
        self._cancel()
        self._control.close()
        for thread in threads:
            thread.join(timeout=self._beat_s + 0.5)
        if self._owns_context and not any(thread.is_alive() for thread in threads):
            self._context.term()
        self._wake_receiver.close()
        self._wake_sender.close()


class _Request:
    """A request for the handler: the `Incoming` of `bus.transport`."""

    def __init__(self, envelope: message.Request, body: codec.Data) -> None:
        self.id = envelope.id
        self.target, self.method = envelope.target, envelope.method
        self.bound: Mapping[str, str] = envelope.bound
        self._body = body
        self.cancelled_at: float | None = None  # monotonic clock
        self.reported = False  # as one that does not end

    def arguments(self, type: type[T]) -> T:
        value: T = codec.decode(self._body, type)
        return value

    def cancelled(self) -> bool:
        return self.cancelled_at is not None

    def cancel(self) -> None:
        if self.cancelled_at is None:
            self.cancelled_at = time.monotonic()


class _Session:
    """`join` is sent first on a connection from `connect`, and repeated while there is no request.

    `request` is the one being answered; setting `ending` ends the session when it is idle.
    """

    def __init__(
        self, handler: Handler, connect: Callable[[], Connection], join: bytes, worker: str
    ) -> None:
        self.request: _Request | None = None
        self.ending = False
        self._handler, self._connect, self._join, self._worker = handler, connect, join, worker
        self._credit = 0

    def run(self) -> None:
        """Answer requests until the router says goodbye or the context is closed."""
        with suppress(Closed):
            while not self.ending:
                self._connection = self._connect()
                try:
                    self._serve()
                except Disconnected:  # whose reply this was cannot be reached any more
                    continue
                finally:
                    self._connection.close()

    def _serve(self) -> None:
        """Answer requests over one connection. Raises Disconnected, Closed."""
        self._connection.wait_writable()
        self._send_join()
        while not self.ending:
            try:
                received = self._connection.receive()
            except BadMessage as error:
                _log.warning("%s: %s", self._worker, error)
                continue
            if received is None:
                self._send_join()
            elif type(received[0]) is message.Request:
                self._answer(*received)
            elif type(received[0]) is message.Goodbye:
                self.ending = True

    def _send_join(self) -> None:
        with suppress(Disconnected):  # libzmq goes on connecting; it is repeated soon
            self._connection.send(self._join, wait=False)

    def _answer(self, envelope: message.Request, body: codec.Data) -> None:
        self.request = request = _Request(envelope, body)
        try:
            if envelope.stream:
                self._stream(request)
            else:
                data = codec.encode(self._handler(request))
                self._connection.send(pack(message.Reply(request.id, True)), data)
        except (Disconnected, Closed):
            raise
        except BaseException as error:  # even SystemExit from a handler ends only this answer
            fault = codec.fault(self._error_of(error, request))
            self._connection.send(pack(message.Fault(request.id, *fault)))
        finally:
            self.request = None

    def _stream(self, request: _Request) -> None:
        """Confirm the call, then send each value when there is credit for it."""
        values = iter(self._handler(request))
        try:
            self._credit = 0
            self._connection.send(pack(message.Opened(request.id)))
            reply = pack(message.Reply(request.id, False))
            while self._wait_for_credit(request):
                value = next(values, _NO_MORE)
                if value is _NO_MORE:
                    break
                self._credit -= 1
                self._connection.send(reply, codec.encode(value))
            self._connection.send(pack(message.End(request.id)))
        finally:
            if close := getattr(values, "close", None):
                close()

    def _wait_for_credit(self, request: _Request) -> bool:
        """False when the request was cancelled."""
        until = time.monotonic() + IDLE_STREAM_S
        while not request.cancelled():
            if self._credit > 0:
                return True
            received = self._connection.receive()
            if received is None and time.monotonic() > until:
                raise DeadlineExceeded(
                    "nothing was fetched from {method} for {seconds:g} s",
                    method=request.method,
                    seconds=IDLE_STREAM_S,
                )
            order = received[0] if received else None
            if isinstance(order, message.Credit) and order.id == request.id:
                self._credit = min(self._credit + order.count, WINDOW)
            elif isinstance(order, message.Cancel) and order.id == request.id:
                request.cancel()
        return False

    def _error_of(self, error: BaseException, request: _Request) -> RagError:
        """The error to send; a mistake in the program goes to the log and is sent as Internal."""
        if isinstance(error, RagError):
            return error
        method = f"{request.target}.{request.method}"
        _log.error("%s: %s failed", self._worker, method, exc_info=error)
        return Internal(
            "{method} failed in {worker}; its log says more", method=method, worker=self._worker
        )
