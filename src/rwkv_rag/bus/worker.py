"""A worker of a service: joins a router and answers its requests with a handler.

Each of its sessions is a thread with a connection of its own (`session`). The thread that runs the
worker reports once a second that it is alive, receives cancellations while the sessions compute,
and watches for requests that do not end. Knows no method and no value.
"""

from __future__ import annotations

import logging
import os
import socket as sockets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

import zmq

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import Closed, Connection, Context, Disconnected
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.bus.security import PeerSecurity, require_keys
from rwkv_rag.bus.session import Session
from rwkv_rag.bus.transport import Handler
from rwkv_rag.errors import BadMessage

Facts: TypeAlias = Mapping[str, str | int | float]
LEAVING_S = 0.1  # between two heartbeats of a worker that is leaving
EXIT_STUCK = 70  # exit status: a mistake in the program

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
        self._sessions = [Session(handler, self._connect, join, name) for _ in range(slots)]
        self._connected, self._connected_at = False, time.monotonic()
        self._stop_at: float | None = None  # when `stop` waits no longer
        self._wake_receiver, self._wake_sender = sockets.socketpair()

    def run(self) -> None:
        """Work until `stop`.

        Raises BadMessage where the router speaks another version, NotAllowed where it refuses the
        keys of this worker.
        """
        threads = [each.thread(f"{self._name} {n}") for n, each in enumerate(self._sessions)]
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

    # the control connection

    def _watch(self, threads: list[threading.Thread]) -> None:
        poller = zmq.Poller()
        poller.register(self._control.socket, zmq.POLLIN)
        poller.register(self._wake_receiver.fileno(), zmq.POLLIN)
        next_beat, said_leaving = 0.0, False
        self._control.wait_writable()
        while any(thread.is_alive() for thread in threads):
            now = time.monotonic()
            leaving = self._stop_at is not None
            if now >= next_beat or leaving != said_leaving:
                # Repeated quickly while leaving: a session that joins late must be sent away too.
                next_beat = now + (min(LEAVING_S, self._beat_s) if leaving else self._beat_s)
                said_leaving = leaving
                self._send_heartbeat(leaving)
                self._report_stuck(now)
            if self._stop_at is not None:
                if now >= self._stop_at:
                    return
                if not self._connected:  # nobody is there to say goodbye to idle sessions
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
        beat = message.Heartbeat(
            SCHEMA, self._token, self._name, len(self._sessions), leaving, facts
        )
        now = time.monotonic()
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

    def _cancel(self, id: int | None = None) -> None:
        """Cancel the request with this id, or all of them."""
        for session in self._sessions:
            request = session.request
            if request is not None and id in (None, request.id):
                request.cancel()

    def _report_stuck(self, now: float) -> None:
        for session in self._sessions:
            request = session.request
            if request is None or request.cancelled_at is None or request.reported:
                continue
            if now - request.cancelled_at > self._stuck_s:
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
