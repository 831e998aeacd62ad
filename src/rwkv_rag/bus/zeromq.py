"""Calls over ZeroMQ: the Transport to a service's router. Knows no method and no value.

Every call has a connection to itself while it lasts, and those that are free are kept for the next,
as with HTTP: whoever calls sends and receives in its own thread, and nothing is handed from one
thread to another.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import zmq

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import Closed, Lost
from rwkv_rag.bus.direct import connect
from rwkv_rag.bus.keeper import Keeper
from rwkv_rag.bus.line import GRACE_S, Forgotten, Late, Line
from rwkv_rag.bus.security import PeerSecurity, check_open
from rwkv_rag.bus.stream import Stream
from rwkv_rag.bus.transport import Call
from rwkv_rag.errors import BadMessage, DeadlineExceeded, RagError, Unreachable, WorkerLost
from rwkv_rag.types import QueueStatus

KEPT = 16  # connections that wait for the next call


class ZeroMQ:
    """The Transport to the router at `front`. Connects at the first call.

    connect_s   how long a router may take until it counts as unreachable
    ping_s      after how long without a word the router is asked whether it knows the request
    dead_s      a line that is silent for so long is cut
    Raises InputError for an address beyond this machine without keys.
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
        self._security, self._connect_s = security, connect_s
        self._ping_s, self._dead_s = ping_s, dead_s
        self._own = context is None
        self._context = context or zmq.Context()
        self._free: deque[Line] = deque()
        self._lines: set[Line] = set()
        self._changing = threading.RLock()  # a forgotten stream may be collected anywhere
        self._closed = False
        self._directory: dict[str, str] | None = None
        self._keeper = Keeper(self._look_after, dead_s / 4)

    def request(self, call: Call) -> Iterator[Any]:
        line, id, said, body = self._begin(call)
        kind = type(said)
        if kind is message.Opened and call.stream:
            return Stream(self, line, id, call)
        self.give_back(line)
        if kind is message.Reply and not call.stream:
            return iter((codec.decode(body, call.returns),))
        if kind is message.Fault:
            raise codec.raised(said.code, said.message)
        raise BadMessage(
            "{method} answered out of turn: {name}", method=call.method, name=kind.__name__
        )

    def _begin(self, call: Call) -> tuple[Line, int, Any, codec.Data]:
        """Ask, once more if need be and allowed, and wait for the first word."""
        body = codec.pieces(call.arguments)
        until = time.monotonic() + call.deadline_s + GRACE_S
        again = call.repeatable
        while True:
            line = self._borrow()
            id = 0
            try:
                with line.turn:
                    id = line.ask(call, body)
                    said, data = line.wait(id, until)
                return line, id, said, data
            except Forgotten as error:
                self._drop(line)
                if not again:
                    raise self.failure(error, call) from None
                again = False
            except (Lost, Closed, Late) as error:
                self.cancel(line, id)
                raise self.failure(error, call) from None
            except BaseException:  # Ctrl-C, a message that cannot be read
                self.cancel(line, id)
                raise

    def status(self) -> QueueStatus:
        """The router's queue. Raises Unreachable."""
        line = self._borrow()
        try:
            with line.turn:
                body = line.inquire(self._connect_s)
        except (Lost, Closed) as error:
            self._drop(line)
            raise self._away(error) from None
        self.give_back(line)
        status: QueueStatus = codec.decode(body, QueueStatus)
        return status

    @property
    def directory(self) -> dict[str, str]:
        """The front ends of all services, by name. Raises Unreachable."""
        if self._directory is None:
            self.give_back(self._borrow())
        return dict(self._directory or {})

    def close(self) -> None:
        with self._changing:
            self._closed = True
            lines = tuple(self._lines)
        self._keeper.stop()
        for line in lines:
            line.end()
            # Whoever waits on it is woken by the end of the context and closes it then.
            if line.turn.acquire(blocking=not self._own):
                line.close()
                line.turn.release()
        if self._own:
            self._context.term()

    # connections

    def _borrow(self) -> Line:
        """A connection on which nothing is said. Raises Unreachable, NotAllowed, BadMessage."""
        while True:
            try:
                line = self._free.pop()
            except IndexError:
                return self._opened()
            if line.alive():
                return line
            self._drop(line)

    def give_back(self, line: Line) -> None:
        if line.broken or self._closed or len(self._free) >= KEPT:
            self._drop(line)
        else:
            self._free.append(line)

    def cancel(self, line: Line, id: int) -> None:
        """Say that nobody waits for the request any more; the line is free then."""
        try:
            with line.turn:
                line.cancel(id)
        except (Lost, Closed, zmq.ZMQError):
            self._drop(line)
        else:
            self.give_back(line)

    def _drop(self, line: Line) -> None:
        with self._changing:
            self._lines.discard(line)
        line.close()

    def _opened(self) -> Line:
        """A new connection, greeted."""
        with self._changing:
            if self._closed:
                raise self._away(Closed())
            connection = connect(
                self._context,
                self.front,
                security=self._security,
                decode=message.to_client.decode,
                receive_s=self._ping_s,
                send_s=self._connect_s,
                silence_s=self._dead_s,
            )
            line = Line(connection, self._ping_s)
            self._lines.add(line)
            self._keeper.start()
        try:
            with line.turn:
                self._directory = line.greet(self._connect_s).directory
        except (Lost, Closed) as error:
            self._drop(line)
            raise self._away(Closed() if self._closed else error) from None
        except BaseException:
            self._drop(line)
            raise
        return line

    def _look_after(self) -> None:
        """Keep the lines that nobody reads just now."""
        with self._changing:
            lines = tuple(self._lines)
        for line in lines:
            line.keep()

    # what is said of it

    def failure(self, error: Exception, call: Call) -> RagError:
        """What the caller hears when the line or the router failed it."""
        what = f"{call.target}.{call.method}"
        if isinstance(error, Late):
            return DeadlineExceeded(
                "{what} gave no reply in {deadline_s:g} s", what=what, deadline_s=call.deadline_s
            )
        if isinstance(error, Forgotten):
            return WorkerLost("the router went away during {what}; ask again", what=what)
        return self._away(error)

    def _away(self, error: Exception) -> Unreachable:
        if isinstance(error, Lost):
            return Unreachable(
                "nobody answers at {front}; start the services with `rwkv-rag up`", front=self.front
            )
        return Unreachable("the connection was closed; open it again")
