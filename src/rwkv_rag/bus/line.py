"""A client's connection to a router, with one call at a time. Knows the envelopes, no value.

Whoever holds `turn` may use it. Late words to an earlier call are told apart by their id.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.connection import Closed, Link, Lost
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.bus.transport import Call

GRACE_S = 0.25  # the router knows better why a request waited too long, so it speaks first
UNANSWERED = 3  # pings after which a router counts as gone


class Forgotten(Exception):
    """The router does not know the request (any more)."""


class Late(Exception):
    """Nothing was said in time."""


class Stopped(Exception):
    """Another thread has ended the call."""


class Line:
    """`ping_s`: after how long without a word the router is asked whether it knows the request."""

    def __init__(self, connection: Link, ping_s: float) -> None:
        self.turn = threading.Lock()
        self.broken = False  # to be closed by whoever has its turn
        self.stopped = False  # the call is to end
        self._connection, self._ping_s = connection, ping_s
        self._send, self._receive = connection.send, connection.receive
        self._id = int.from_bytes(os.urandom(7), "little")

    def greet(self, connect_s: float) -> message.Welcome:
        """Raises Lost, NotAllowed, and BadMessage where the router speaks another version."""
        until = time.monotonic() + connect_s
        self._connection.ready(until)
        self._send(pack(message.Hello()))
        while (left := until - time.monotonic()) > 0:
            received = self._connection.within(left)
            said = received[0] if received else None
            if isinstance(said, message.Welcome):
                return said
            if isinstance(said, message.Fault):
                raise codec.raised(said.code, said.message)
        raise Lost

    def alive(self) -> bool:
        """Whether it is worth while to ask anything."""
        with self.turn:
            return self._connection.alive()

    def keep(self) -> None:
        """Show the router that this side lives, unless somebody has the turn, who does it."""
        if self.turn.acquire(blocking=False):
            try:
                self._connection.keep()
            finally:
                self.turn.release()

    def ask(self, call: Call, body: tuple[codec.Data, ...]) -> int:
        """Send the request; its id. Raises Lost where the router cannot be reached."""
        self.stopped = False
        self._id = id = self._id + 1
        envelope = message.Request(
            id,
            SCHEMA,
            call.priority,
            call.deadline_s,
            call.stream,
            call.repeatable,
            call.target,
            call.method,
            dict(call.bound),
        )
        self._send(pack(envelope), *body)
        return id

    def inquire(self, connect_s: float) -> codec.Data:
        """The state of the queue. Raises Lost."""
        self._id = id = self._id + 1
        self._send(pack(message.Ask(id)))
        with suppress(Late, Forgotten):
            said, body = self.wait(id, time.monotonic() + connect_s)
            if type(said) is message.Reply:
                return body
        raise Lost

    def grant(self, id: int, count: int) -> None:
        """Take so many more values of a stream. Raises Forgotten, Closed."""
        self._tell(message.Credit(id, count))

    def cancel(self, id: int) -> None:
        """Raises Lost."""
        self._send(pack(message.Cancel(id)), wait=False)

    def wait(self, id: int, until: float) -> tuple[Any, codec.Data]:
        """What is said next to the request. Raises Late, Forgotten, Stopped, Closed."""
        asked = 0.0
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise Late
            try:
                received = (
                    self._receive() if left >= self._ping_s else self._connection.within(left)
                )
            except Lost:
                raise self._gone() from None
            if self.broken:
                raise Closed
            if received is None:
                asked = self._ping(id, asked)
                continue
            said = received[0]
            kind = type(said)
            if kind is message.Welcome or said.id != id:
                pass
            elif kind is not message.Pong:
                return received
            elif said.known:
                asked = 0.0
            else:
                raise Forgotten

    def _ping(self, id: int, asked: float) -> float:
        """Ask whether the router knows the request; since when it owes an answer to that."""
        if self.stopped:
            raise Stopped
        now = time.monotonic()
        if asked and now - asked > UNANSWERED * self._ping_s:
            raise Forgotten
        self._tell(message.Ping(id))
        return asked or now

    def _tell(self, what: message.Credit | message.Ping) -> None:
        try:
            self._send(pack(what), wait=False)
        except Lost:
            raise self._gone() from None

    def _gone(self) -> Exception:
        """Why the line is: this side let it go, or the router did, and knows no request then."""
        return Closed() if self.broken else Forgotten()

    def end(self) -> None:
        """Let nobody use it any more, and wake who waits; from any thread."""
        self.broken = True
        self._connection.wake()

    def close(self) -> None:
        self.broken = True
        self._connection.close()
