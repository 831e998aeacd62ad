"""One call at a time over a connection to a router. Knows the envelopes, not the values.

Any thread may use a channel while it holds `lock`. Late messages to an earlier call are recognised
by their id and dropped.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.connection import Closed, Connection, Disconnected
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.bus.transport import Call

GRACE_S = 0.25  # the router times out first, since it knows why a request waited
MAX_UNANSWERED = 3  # pings without an answer after which the router counts as gone


class UnknownRequest(Exception):
    """The router does not know the request, for instance because it was restarted."""


class TimedOut(Exception):
    """No reply came in time."""


class Stopped(Exception):
    """Another thread has ended the call."""


class Channel:
    """`ping_s`: after so long in silence the router is asked whether it knows the request."""

    def __init__(self, connection: Connection, ping_s: float) -> None:
        self.lock = threading.Lock()
        self.closing = False  # to be closed by the thread that has the lock
        self.stopped = False  # the current call is to end
        self._connection, self._ping_s = connection, ping_s
        self._id = int.from_bytes(os.urandom(7), "little")

    def greet(self, connect_s: float) -> message.Welcome:
        """Raises Disconnected, NotAllowed, or BadMessage from a router of another version."""
        until = time.monotonic() + connect_s
        self._connection.wait_connected(until)
        self._connection.send(pack(message.Hello()))
        while (left := until - time.monotonic()) > 0:
            received = self._connection.receive(left)
            answer = received[0] if received else None
            if isinstance(answer, message.Welcome):
                return answer
            if isinstance(answer, message.Fault):
                raise codec.raised(answer.code, answer.message)
        raise Disconnected

    def request(self, call: Call, body: bytes) -> int:
        """Send the request and return its id. Raises Disconnected."""
        self.stopped = False
        self._id += 1
        envelope = message.Request(
            self._id,
            SCHEMA,
            call.priority,
            call.deadline_s,
            call.stream,
            call.repeatable,
            call.target,
            call.method,
            dict(call.bound),
        )
        self._connection.send(pack(envelope), body)
        return self._id

    def status(self, timeout_s: float) -> codec.Data:
        """The encoded `QueueStatus` of the router. Raises Disconnected."""
        self._id += 1
        self._connection.send(pack(message.StatusRequest(self._id)))
        with suppress(TimedOut, UnknownRequest):
            answer, body = self.wait(self._id, time.monotonic() + timeout_s)
            if type(answer) is message.Reply:
                return body
        raise Disconnected

    def grant(self, id: int, count: int) -> None:
        """Allow `count` more values of a stream. Raises UnknownRequest, Closed."""
        self._tell(message.Credit(id, count))

    def cancel(self, id: int) -> None:
        """Raises Disconnected."""
        self._connection.send(pack(message.Cancel(id)), wait=False)

    def wait(self, id: int, until: float) -> tuple[Any, codec.Data]:
        """The next message to request `id`. Raises TimedOut, UnknownRequest, Stopped, Closed."""
        pinged_at = 0.0
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimedOut
            received = self._connection.receive(min(left, self._ping_s))
            if self.closing:
                raise Closed
            if received is None:
                pinged_at = self._ping(id, pinged_at)
                continue
            answer = received[0]
            if type(answer) is message.Welcome or answer.id != id:
                continue
            if type(answer) is not message.Pong:
                return received
            if not answer.known:
                raise UnknownRequest
            pinged_at = 0.0

    def _ping(self, id: int, pinged_at: float) -> float:
        """Ask whether the router knows the request; when the first unanswered ping was sent."""
        if self.stopped:
            raise Stopped
        now = time.monotonic()
        if pinged_at and now - pinged_at > MAX_UNANSWERED * self._ping_s:
            raise UnknownRequest
        self._tell(message.Ping(id))
        return pinged_at or now

    def _tell(self, envelope: message.Credit | message.Ping) -> None:
        try:
            self._connection.send(pack(envelope), wait=False)
        except Disconnected:
            raise UnknownRequest from None

    def close(self) -> None:
        self.closing = True
        self._connection.close()
