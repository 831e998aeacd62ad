"""A worker of a service: joins the router at an address and answers requests with a handler.

Each slot is a thread with a connection of its own (`slot`). The thread that runs the worker says
every second that it lives, takes cancels while the slots compute, and watches over them. Knows no
method and no value.
"""

from __future__ import annotations

import logging
import os
import socket as sockets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeAlias, TypeVar

import zmq

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import Closed, Connection, Link, Lost
from rwkv_rag.bus.direct import connect
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.bus.security import PeerSecurity, check_open
from rwkv_rag.bus.slot import Slot
from rwkv_rag.bus.transport import Handler
from rwkv_rag.errors import BadMessage

L = TypeVar("L", bound=Link)
Facts: TypeAlias = Mapping[str, str | int | float]
LEAVING_S = 0.1  # between two beats of a worker that leaves
STUCK = 70  # exit status: a mistake in the program

_log = logging.getLogger(__name__)


def exit_stuck() -> None:
    """For `on_stuck` in a process of its own: end at once, for a supervisor to start a new one."""
    _log.critical("a request did not end after it was cancelled; this process ends")
    logging.shutdown()
    os._exit(STUCK)


def _warn_stuck() -> None:
    _log.critical("a request did not end after it was cancelled; its slot is lost")


class Worker:
    """`facts` is asked once every `beat_s` for what the router's status shows of this worker."""

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
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        beat_s: float = 1.0,
        dead_s: float = 5.0,
    ) -> None:
        address = Address.parse(back)
        check_open(address, security)
        self._back, self._security = address.url, security
        self._name, self._facts = name, facts
        self._stuck_s, self._on_stuck = stuck_s, on_stuck
        self._beat_s, self._dead_s = beat_s, dead_s
        self._own = context is None
        self._context = context or zmq.Context()
        self._token = os.urandom(16)
        join = pack(message.Join(SCHEMA, self._token, name, slots))
        line = partial(self._connect, connect)
        self._slots = [Slot(handler, line, join, name) for _ in range(slots)]
        self._heard, self._heard_at = False, time.monotonic()
        self._stop_at: float | None = None  # when the drain is over
        self._woken, self._waker = sockets.socketpair()

    def run(self) -> None:
        """Work until `stop`.

        Raises BadMessage where the router speaks another version, NotAllowed where it refuses the
        keys of this worker.
        """
        threads = [
            threading.Thread(target=slot.run, name=f"{self._name} {number}", daemon=True)
            for number, slot in enumerate(self._slots)
        ]
        self._line = self._connect(Connection)
        try:
            for thread in threads:
                thread.start()
            self._watch(threads)
        finally:
            self._end(threads)

    def stop(self, drain_s: float = 30.0) -> None:
        """End `run`: take nothing new, finish what is under way within `drain_s`.

        From any thread or a signal handler.
        """
        self._stop_at = time.monotonic() + drain_s
        with suppress(OSError):  # ended already
            self._waker.send(b"x")

    def _connect(self, open: Callable[..., L]) -> L:
        try:
            return open(
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

    # the watching thread

    def _watch(self, threads: list[threading.Thread]) -> None:
        poller = zmq.Poller()
        poller.register(self._line.socket, zmq.POLLIN)
        poller.register(self._woken.fileno(), zmq.POLLIN)
        next_beat, said_goodbye = 0.0, False
        self._line.connected()
        while any(thread.is_alive() for thread in threads):
            now = time.monotonic()
            leaving = self._stop_at is not None
            if now >= next_beat or leaving != said_goodbye:
                # A slot that joins late must find a router that knows of the leaving.
                next_beat = now + (min(LEAVING_S, self._beat_s) if leaving else self._beat_s)
                said_goodbye = leaving
                self._beat(leaving)
                self._check_stuck(now)
                for slot in self._slots:
                    slot.keep()
            if self._stop_at is not None:
                if now >= self._stop_at:
                    return
                self._end_unheard()
            wait = 20 if leaving else max(1, int((next_beat - now) * 1000))
            for source, _ in poller.poll(wait):
                if source is self._line.socket:
                    self._listen()
                else:
                    self._woken.recv(64)

    def _beat(self, leaving: bool) -> None:
        try:
            facts = dict(self._facts())
        except Exception:
            _log.exception("%s: what it says of itself failed", self._name)
            facts = {}
        slots = len(self._slots)
        beat = message.Beat(SCHEMA, self._token, self._name, slots, leaving, facts)
        now = time.monotonic()
        try:
            self._line.send(pack(beat), wait=False)
            self._heard, self._heard_at = True, now
        except Lost:
            self._heard = False
            self._line.check_keys()
            if now - self._heard_at > self._dead_s:
                self._cancel_all()

    def _end_unheard(self) -> None:
        """Idle slots wait for a goodbye only while there is somebody to say it."""
        if not self._heard:
            for slot in self._slots:
                slot.ending = True

    def _listen(self) -> None:
        while self._line.socket.poll(0):
            try:
                received = self._line.receive()
            except BadMessage as error:
                _log.warning("%s: %s", self._name, error)
                continue
            said = received[0] if received else None
            if type(said) is message.Cancel:
                self._cancel(said.id)
            elif type(said) is message.Fault:
                raise codec.raised(said.code, said.message)

    def _cancel(self, id: int) -> None:
        for slot in self._slots:
            request = slot.request
            if request is not None and request.id == id:
                request.cancel()

    def _cancel_all(self) -> None:
        for slot in self._slots:
            if slot.request is not None:
                slot.request.cancel()

    def _check_stuck(self, now: float) -> None:
        for slot in self._slots:
            request = slot.request
            if request is None or request.gone_at is None or request.reported:
                continue
            if now - request.gone_at > self._stuck_s:
                request.reported = True
                self._on_stuck()

    def _end(self, threads: list[threading.Thread]) -> None:
        """Close what is ours; a thread that still computes is left behind, and dies with us."""
        for slot in self._slots:
            slot.ending = True
        self._cancel_all()
        self._line.close()
        for thread in threads:
            thread.join(timeout=self._beat_s + 0.5)
        if self._own and not any(thread.is_alive() for thread in threads):
            self._context.term()
        self._woken.close()
        self._waker.close()
