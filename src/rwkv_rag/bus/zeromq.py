"""Calls over ZeroMQ: the Transport to a service's router. Knows no method and no value.

Every call has a connection to itself while it lasts, and those that are free are kept for the next,
as with HTTP: whoever calls sends and receives in its own thread, and nothing is handed from one
thread to another. Whether the router still knows a request is asked when it is slow to answer.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import zmq

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import Closed, Connection, Lost
from rwkv_rag.bus.message import SCHEMA, pack, unpack
from rwkv_rag.bus.security import PeerSecurity, check_open
from rwkv_rag.bus.transport import Call
from rwkv_rag.errors import (
    BadMessage,
    DeadlineExceeded,
    RagError,
    Unreachable,
    WorkerLost,
)
from rwkv_rag.types import QueueStatus

KEPT = 16  # connections that wait for the next call
GRACE_S = 0.25  # the router knows better why a request waited too long, so it speaks first
HALF = message.WINDOW // 2

_log = logging.getLogger(__name__)


class ZeroMQ:
    """The Transport to the router at `front`. Connects at the first call.

    connect_s   how long a router may take until it counts as unreachable
    ping_s      after how long without a word the router is asked whether it knows the request
    """

    def __init__(
        self,
        front: str,
        *,
        security: PeerSecurity | None = None,
        connect_s: float = 5.0,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        ping_s: float = 1.0,
        dead_s: float = 5.0,
    ) -> None:
        address = Address.parse(front)
        check_open(address, security)
        self.front = address.url
        self.ping_s = ping_s
        self._security, self._connect_s, self._dead_s = security, connect_s, dead_s
        self._own = context is None
        self._context = context or zmq.Context()
        self._free: deque[Line] = deque()
        self._lines: set[Line] = set()
        self._closing = threading.Lock()
        self._closed = False
        self._directory: dict[str, str] | None = None

    def request(self, call: Call) -> Iterator[Any]:
        replies = _Replies(self, call)
        if call.stream:
            return replies
        return iter((replies.only(),))

    def status(self) -> QueueStatus:
        """The router's queue. Raises Unreachable."""
        line = self.borrow()
        try:
            id = line.next_id()
            line.send(pack(message.Ask(id)))
            until = time.monotonic() + self._connect_s
            said, body = line.answer(id, until)
            if type(said) is not message.Reply:
                raise self.unreachable()
            status: QueueStatus = codec.decode(body, QueueStatus)
            return status
        except Lost:
            raise self.unreachable() from None
        finally:
            self.give_back(line)

    @property
    def directory(self) -> dict[str, str]:
        """The front ends of all services, by name. Raises Unreachable."""
        if self._directory is None:
            self.give_back(self.borrow())
        return dict(self._directory or {})

    def close(self) -> None:
        with self._closing:
            self._closed = True
            lines = tuple(self._lines)
        for line in lines:
            line.broken = True
            # Whoever waits on it is woken by the end of the context and closes it then.
            if line.turn.acquire(blocking=not self._own):
                line.close()
                line.turn.release()
        if self._own:
            self._context.term()

    # connections

    def borrow(self) -> Line:
        """A connection on which nothing is said. Raises Unreachable, NotAllowed, BadMessage."""
        if self._closed:
            raise self.gone()
        try:
            return self._free.pop()
        except IndexError:
            return self._opened()

    def give_back(self, line: Line) -> None:
        if line.broken or self._closed or len(self._free) >= KEPT:
            self.drop(line)
        else:
            self._free.append(line)

    def drop(self, line: Line) -> None:
        with self._closing:
            self._lines.discard(line)
        line.close()

    def _opened(self) -> Line:
        """A new connection, greeted."""
        with self._closing:
            if self._closed:
                raise self.gone()
            connection = Connection(
                self._context,
                self.front,
                security=self._security,
                receive_s=self.ping_s,
                send_s=self._connect_s,
                silence_s=self._dead_s,
            )
            line = Line(connection)
            self._lines.add(line)
        try:
            with line.turn:
                welcome = line.greet(self._connect_s)
        except Lost:
            self.drop(line)
            raise self.unreachable() from None
        except Closed:
            self.drop(line)
            raise self.gone() from None
        except BaseException:
            self.drop(line)
            raise
        self._directory = welcome.directory
        return line

    def unreachable(self) -> Unreachable:
        return Unreachable(f"nobody answers at {self.front}; start the services with `rwkv-rag up`")

    def gone(self) -> Unreachable:
        return Unreachable("the connection was closed; open it again")


class Line:
    """A connection to the router with one call at a time. `turn` is held by who uses it."""

    def __init__(self, connection: Connection) -> None:
        self.turn = threading.Lock()
        self.broken = False
        self._connection = connection
        self._id = int.from_bytes(os.urandom(7), "little")
        self.send = connection.send
        self.receive = connection.receive
        self.within = connection.within

    def next_id(self) -> int:
        """An id no other request has: whatever comes late for another is told apart by it."""
        self._id += 1
        return self._id

    def greet(self, connect_s: float) -> message.Welcome:
        """Raises Lost, NotAllowed, and BadMessage where the router speaks another version."""
        until = time.monotonic() + connect_s
        self._connection.ready(until)
        self.send(pack(message.Hello()))
        while (left := until - time.monotonic()) > 0:
            received = self.within(left)
            said = unpack(message.to_client, received[0]) if received else None
            if isinstance(said, message.Welcome):
                return said
            if isinstance(said, message.Fault):
                raise codec.raised(said.code, said.message)
        raise Lost

    def answer(self, id: int, until: float) -> tuple[Any, codec.Data]:
        """What is said to the request before `until`. Raises Lost."""
        while (left := until - time.monotonic()) > 0:
            received = self.within(left)
            if received:
                said = unpack(message.to_client, received[0])
                if getattr(said, "id", None) == id:
                    return said, received[1]
        raise Lost

    def close(self) -> None:
        self.broken = True
        self._connection.close()


class _Replies:
    """One call: its request is sent at once, its replies come as they are asked for."""

    def __init__(self, transport: ZeroMQ, call: Call) -> None:
        self._transport, self._call = transport, call
        self._body = codec.encode(call.arguments)
        self._line: Line | None = None
        self._credit = 0
        self._received = False
        self._again = call.repeatable
        self._send()
        if call.stream:
            said, _ = self._next()
            if type(said) is not message.Opened:
                self._end(cancel=True)
                raise BadMessage(f"{call.method} answered out of turn: {type(said).__name__}")
            self._received = True

    def __iter__(self) -> _Replies:
        return self

    def only(self) -> Any:
        """The reply of a unary call."""
        said, body = self._next()
        value = self._value(said, body)
        self._end()
        return value

    def __next__(self) -> Any:
        if self._line is None:
            raise StopIteration
        if self._credit <= HALF:
            self._grant(message.WINDOW - self._credit)
        said, body = self._next()
        if type(said) is message.End:
            self._end()
            raise StopIteration
        self._credit -= 1
        return self._value(said, body)

    def close(self) -> None:
        """Cancel the call if it is not over."""
        line = self._line
        if line is None or not line.turn.acquire(blocking=False):
            return
        line.turn.release()
        self._end(cancel=True)

    __del__ = close

    def _value(self, said: Any, body: codec.Data) -> Any:
        try:
            if type(said) is not message.Reply:
                raise BadMessage(f"{self._call.method} answered out of turn: {said!r}")
            return codec.decode(body, self._call.returns)
        except RagError:
            self._end(cancel=True)
            raise

    # sending

    def _send(self) -> None:
        line = self._line = self._transport.borrow()
        call = self._call
        self._id = line.next_id()
        envelope = message.Request(
            self._id,
            SCHEMA,
            int(call.priority),
            call.deadline_s,
            call.stream,
            call.repeatable,
            call.target,
            call.method,
            dict(call.bound),
        )
        try:
            with line.turn:
                line.send(pack(envelope), self._body)
        except Lost:
            self._end(broken=True)
            raise self._transport.unreachable() from None
        except Closed:
            self._end(broken=True)
            raise self._transport.gone() from None

    def _grant(self, count: int) -> None:
        assert self._line is not None
        try:
            with self._line.turn:
                self._line.send(pack(message.Credit(self._id, count)), wait=False)
        except (Lost, Closed):
            self._give_up()
        self._credit += count

    # receiving

    def _next(self) -> tuple[Any, codec.Data]:
        """What is said next to this request. Raises what the other side raised, and our own."""
        until = time.monotonic() + self._call.deadline_s + GRACE_S
        while True:
            try:
                said, body = self._wait(until)
            except Closed:
                self._end(broken=True)
                raise self._transport.gone() from None
            except Lost:
                self._give_up()
                self._send()
                continue
            except BaseException:  # Ctrl-C, a message that cannot be read
                self._end(cancel=True)
                raise
            if type(said) is message.Fault:
                self._end()
                raise codec.raised(said.code, said.message)
            return said, body

    def _wait(self, until: float) -> tuple[Any, codec.Data]:
        """Raises Lost when the router does not know the request (any more)."""
        line = self._line
        assert line is not None
        asked = 0.0
        with line.turn:
            while True:
                received = line.receive()
                if line.broken:
                    raise Closed
                if received is not None:
                    said = unpack(message.to_client, received[0])
                    if getattr(said, "id", None) == self._id:
                        if type(said) is not message.Pong:
                            return said, received[1]
                        asked = 0.0
                        if not said.known:
                            raise Lost
                    continue
                now = time.monotonic()
                if now >= until:
                    break
                if asked and now - asked > 3 * self._transport.ping_s:
                    raise Lost
                asked = asked or now
                line.send(pack(message.Ping(self._id)), wait=False)
        self._end(cancel=True)
        call = self._call
        raise DeadlineExceeded(
            f"{call.target}.{call.method} gave no reply in {call.deadline_s:g} s"
        )

    # ending

    def _give_up(self) -> None:
        """The router lost the request: raise that, or return for it to be asked once more."""
        self._end(broken=True)
        if self._received or not self._again:
            call = self._call
            raise WorkerLost(f"the router went away during {call.target}.{call.method}; ask again")
        self._again = False

    def _end(self, *, cancel: bool = False, broken: bool = False) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        try:
            if cancel:
                with line.turn:
                    line.send(pack(message.Cancel(self._id)), wait=False)
        except (Lost, Closed, zmq.ZMQError):
            broken = True
        if broken:
            self._transport.drop(line)
        else:
            self._transport.give_back(line)
