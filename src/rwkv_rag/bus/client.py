"""Calls to a service over ZeroMQ: the Transport to its router. Knows no method and no value.

Every call has a connection to itself while it lasts; free connections are kept for the next calls,
as HTTP clients do. The calling thread sends and receives itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import Closed, Connection, Context, Disconnected
from rwkv_rag.bus.message import SCHEMA, WINDOW, pack
from rwkv_rag.bus.security import PeerSecurity, require_keys
from rwkv_rag.bus.transport import Call
from rwkv_rag.errors import BadMessage, DeadlineExceeded, Message, RagError, Unreachable, WorkerLost
from rwkv_rag.types import QueueStatus

MAX_FREE = 16  # connections kept for later calls
GRACE_S = 0.25  # the router times out first, since it knows why a request waited
MAX_UNANSWERED = 3  # pings without an answer after which the router counts as gone


class QueueClient:
    """The Transport to the router at `front`. Connects at the first call.

    connect_s   how long connecting may take before the router counts as unreachable
    ping_s      after so long without a message the router is asked whether it knows the request
    dead_s      a connection that is silent for so long is closed
    Raises InputError for an address beyond this machine without keys.
    """

    def __init__(
        self,
        front: str,
        *,
        security: PeerSecurity | None = None,
        connect_s: float = 5.0,
        context: Context | None = None,
        ping_s: float = 1.0,
        dead_s: float = 5.0,
    ) -> None:
        address = Address.parse(front)
        require_keys(address, security)
        self.front, self.ping_s = address.url, ping_s
        self._security, self._connect_s, self._dead_s = security, connect_s, dead_s
        self._owns_context = context is None
        self._context = context or zmq.Context()
        self._free: deque[ClientConnection] = deque()
        self._connections: set[ClientConnection] = set()
        self.lock = threading.RLock()  # a dropped stream may be collected in any thread
        self._closed = False
        self._directory: dict[str, str] | None = None

    def request(self, call: Call) -> Iterator[Any]:
        body = codec.encode(call.arguments)
        until = _until(call)
        may_repeat = call.repeatable
        while True:
            try:
                return _RunningCall(self, self._acquire(), call).begin(body, until)
            except RequestForgotten:
                if not may_repeat:
                    raise
                may_repeat = False

    def status(self) -> QueueStatus:
        """The router's queue. Raises Unreachable."""
        call = Call("router", "status", returns=QueueStatus, deadline_s=self._connect_s)
        try:
            (status,) = _RunningCall(self, self._acquire(), call).begin(None, _until(call))
        except (DeadlineExceeded, WorkerLost):
            raise self.unreachable(Disconnected()) from None
        found: QueueStatus = status
        return found

    @property
    def directory(self) -> dict[str, str]:
        """The front addresses of all services, by name. Raises Unreachable."""
        if self._directory is None:
            self.release(self._acquire())
        return dict(self._directory or {})

    def close(self) -> None:
        with self.lock:
            self._closed = True
            connections = tuple(self._connections)
        for connection in connections:
            connection.closing = True
            # A thread that waits on it is woken by the end of the context, and closes it then.
            if connection.lock.acquire(blocking=not self._owns_context):
                connection.close()
                connection.lock.release()
        if self._owns_context:
            self._context.term()

    def _acquire(self) -> ClientConnection:
        """A free connection or a new one. Raises Unreachable, NotAllowed, BadMessage."""
        try:
            return self._free.pop()
        except IndexError:
            return self._open()

    def release(self, connection: ClientConnection) -> None:
        """The call on it is over."""
        if connection.closing or self._closed or len(self._free) >= MAX_FREE:
            self.drop(connection)
        else:
            self._free.append(connection)

    def drop(self, connection: ClientConnection) -> None:
        """Close it rather than use it again."""
        with self.lock:
            self._connections.discard(connection)
        connection.closing = True
        connection.close()

    def _open(self) -> ClientConnection:
        with self.lock:
            if self._closed:
                raise self.unreachable(Closed())
            connection = ClientConnection(
                self._context,
                self.front,
                security=self._security,
                decode=message.to_client.decode,
                receive_s=self.ping_s,
                send_s=self._connect_s,
                silence_s=self._dead_s,
            )
            self._connections.add(connection)
        try:
            with connection.lock:
                self._directory = connection.greet(self._connect_s).directory
        except BaseException as error:
            self.drop(connection)
            if isinstance(error, Disconnected | Closed):
                raise self.unreachable(Closed() if self._closed else error) from None
            raise
        return connection

    def unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, Disconnected):
            return Unreachable(
                "nobody answers at {url}; start the services with `rwkv-rag up`", url=self.front
            )
        return Unreachable("the connection was closed; open it again")


class ClientConnection(Connection):
    """A connection for one call at a time. Any thread may use it while it holds `lock`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lock = threading.Lock()
        self.closing = False  # to be closed by the thread that has the lock
        self._last_id = int.from_bytes(os.urandom(7), "little")

    def next_id(self) -> int:
        """An id that no earlier call had, by which late messages to those are recognised."""
        self._last_id += 1
        return self._last_id

    def greet(self, connect_s: float) -> message.Welcome:
        """Raises Disconnected, NotAllowed, or BadMessage from a router of another version."""
        until = time.monotonic() + connect_s
        self.wait_connected(until)
        self.send(pack(message.Hello()))
        while (left := until - time.monotonic()) > 0:
            received = self.receive(left)
            answer = received[0] if received else None
            if isinstance(answer, message.Welcome):
                return answer
            if isinstance(answer, message.Fault):
                raise codec.raised(answer.code, answer.message)
        raise Disconnected


class RequestForgotten(WorkerLost):
    """The router does not know the request any more, for instance because it was restarted."""


class _RunningCall:
    """A call and its replies: of a stream, a window of values is sent ahead.

    Any thread may fetch, one at a time; any may close it, which cancels the call.
    """

    def __init__(self, client: QueueClient, connection: ClientConnection, call: Call) -> None:
        self._client, self._call = client, call
        self._connection: ClientConnection | None = connection  # None when the call is over
        self._id = 0  # until the request was sent
        self._credit = 0
        self._cancelled = False

    def begin(self, body: bytes | None, until: float) -> Iterator[Any]:
        """Send the request, or without a body ask for the router's status; the replies.

        Raises RequestForgotten, and what `Transport.request` raises.
        """
        call, connection = self._call, self._connection
        assert connection is not None
        with self._exclusive(connection):
            id = connection.next_id()
            if body is None:
                connection.send(pack(message.StatusRequest(id)))
            else:
                connection.send(pack(_envelope(id, call)), body)
            self._id = id
            answer, data = self._receive(connection, until)
        if call.stream and type(answer) is message.Opened:
            return self
        self._end()
        if type(answer) is message.Reply and not call.stream:
            return iter((codec.decode(data, call.returns),))
        raise self._error_of(answer)

    def __iter__(self) -> _RunningCall:
        return self

    def __next__(self) -> Any:
        connection = self._connection
        if connection is None:
            raise StopIteration
        with self._exclusive(connection):
            if self._credit <= WINDOW // 2:
                grant = message.Credit(self._id, WINDOW - self._credit)
                connection.send(pack(grant), wait=False)
                self._credit = WINDOW
            answer, data = self._receive(connection, _until(self._call))
            if type(answer) is message.Reply and not self._cancelled:
                self._credit -= 1
                return codec.decode(data, self._call.returns)
        self._end(cancel=self._cancelled)
        if self._cancelled or type(answer) is message.End:
            raise StopIteration
        raise self._error_of(answer)

    def close(self) -> None:
        """Cancel the call if it is not over; a thread that waits for a value does it itself."""
        self._cancelled = True
        connection = self._connection
        if connection is not None and connection.lock.acquire(blocking=False):
            connection.lock.release()
            self._end(cancel=True)

    __del__ = close

    @contextmanager
    def _exclusive(self, connection: ClientConnection) -> Iterator[None]:
        """Use the connection from this thread alone; an error ends the call."""
        try:
            with connection.lock:
                yield
        except RequestForgotten:
            self._end(drop=True)
            raise
        except (Disconnected, Closed) as error:
            self._end(drop=True)
            if self._id and isinstance(error, Disconnected):
                raise self._forgotten() from None
            raise self._client.unreachable(error) from None
        except BaseException:  # a deadline, Ctrl-C, a message that cannot be read
            self._end(cancel=True)
            raise

    def _receive(self, connection: ClientConnection, until: float) -> tuple[Any, codec.Data]:
        """The next message to this call; the router is asked whether it still knows the call.

        After `close` it is None. Raises Closed, Disconnected, RequestForgotten, DeadlineExceeded.
        """
        pinged_at = 0.0  # when the first ping without an answer was sent
        while not self._cancelled and (left := until - time.monotonic()) > 0:
            received = connection.receive(min(left, self._client.ping_s))
            if connection.closing:
                raise Closed
            if received is None:
                now = time.monotonic()
                if pinged_at and now - pinged_at > MAX_UNANSWERED * self._client.ping_s:
                    raise self._forgotten()
                connection.send(pack(message.Ping(self._id)), wait=False)
                pinged_at = pinged_at or now
            elif getattr(received[0], "id", 0) == self._id:
                if not isinstance(received[0], message.Pong):
                    return received
                if not received[0].known:
                    raise self._forgotten()
                pinged_at = 0.0
        if self._cancelled:
            return None, b""
        raise DeadlineExceeded(
            "{method} gave no reply in {seconds:g} s",
            method=self._method,
            seconds=self._call.deadline_s,
        )

    def _end(self, *, cancel: bool = False, drop: bool = False) -> None:
        """Give the connection back, or drop it where it cannot be used any more."""
        with self._client.lock:
            connection, self._connection = self._connection, None
        if connection is None:
            return
        if cancel:
            try:
                with connection.lock:
                    connection.send(pack(message.Cancel(self._id)), wait=False)
            except (Disconnected, Closed, zmq.ZMQError):
                drop = True
        if drop:
            self._client.drop(connection)
        else:
            self._client.release(connection)

    @property
    def _method(self) -> str:
        return f"{self._call.target}.{self._call.method}"

    def _forgotten(self) -> RequestForgotten:
        text = Message("the router went away during {method}; ask again", {"method": self._method})
        return RequestForgotten(text)

    def _error_of(self, answer: Any) -> RagError:
        """The error that was sent, or that something else was sent."""
        if type(answer) is message.Fault:
            return codec.raised(answer.code, answer.message)
        return BadMessage(
            "{method} gave an unexpected reply: {kind}",
            method=self._call.method,
            kind=type(answer).__name__,
        )


def _until(call: Call) -> float:
    """When the client gives up waiting for the next reply (monotonic clock)."""
    return time.monotonic() + call.deadline_s + GRACE_S


def _envelope(id: int, call: Call) -> message.Request:
    return message.Request(
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
