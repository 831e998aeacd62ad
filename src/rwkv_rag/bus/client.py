"""Calls to a service over ZeroMQ: the Transport to its router. Knows no method and no value.

Every call has a connection to itself while it lasts; free connections are kept for the next calls,
as HTTP clients do. The calling thread sends and receives itself.
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
from rwkv_rag.bus.channel import GRACE_S, Channel, Stopped, TimedOut, UnknownRequest
from rwkv_rag.bus.connection import Closed, Connection, Context, Disconnected
from rwkv_rag.bus.security import PeerSecurity, require_keys
from rwkv_rag.bus.transport import Call
from rwkv_rag.errors import BadMessage, DeadlineExceeded, RagError, Unreachable, WorkerLost
from rwkv_rag.types import QueueStatus

MAX_FREE = 16  # connections kept for later calls
HALF_WINDOW = message.WINDOW // 2


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
        self.front = address.url
        self._security, self._connect_s = security, connect_s
        self._ping_s, self._dead_s = ping_s, dead_s
        self._owns_context = context is None
        self._context = context or zmq.Context()
        self._free: deque[Channel] = deque()
        self._channels: set[Channel] = set()
        self._lock = threading.RLock()  # a dropped stream may be collected in any thread
        self._closed = False
        self._directory: dict[str, str] | None = None

    def request(self, call: Call) -> Iterator[Any]:
        channel, id, answer, body = self._begin(call)
        kind = type(answer)
        if kind is message.Opened and call.stream:
            return ReplyStream(self, channel, id, call)
        self.release(channel)
        if kind is message.Reply and not call.stream:
            return iter((codec.decode(body, call.returns),))
        raise _error_of(answer, call)

    def _begin(self, call: Call) -> tuple[Channel, int, Any, codec.Data]:
        """Send the request, a second time if the router forgot it and that is safe; the answer."""
        body = codec.encode(call.arguments)
        until = time.monotonic() + call.deadline_s + GRACE_S
        may_repeat = call.repeatable
        while True:
            channel, id = self._acquire(), 0
            try:
                with channel.lock:
                    id = channel.request(call, body)
                    return channel, id, *channel.wait(id, until)
            except UnknownRequest as error:
                self._drop(channel)
                if not may_repeat:
                    raise self.failure(error, call) from None
                may_repeat = False
            except (Disconnected, Closed, TimedOut) as error:
                self.cancel(channel, id)
                raise self.failure(error, call) from None
            except BaseException:  # Ctrl-C, a message that cannot be read
                self.cancel(channel, id)
                raise

    def status(self) -> QueueStatus:
        """The router's queue. Raises Unreachable."""
        channel = self._acquire()
        try:
            with channel.lock:
                body = channel.status(self._connect_s)
        except (Disconnected, Closed) as error:
            self._drop(channel)
            raise self._unreachable(error) from None
        self.release(channel)
        status: QueueStatus = codec.decode(body, QueueStatus)
        return status

    @property
    def directory(self) -> dict[str, str]:
        """The front addresses of all services, by name. Raises Unreachable."""
        if self._directory is None:
            self.release(self._acquire())
        return dict(self._directory or {})

    def close(self) -> None:
        with self._lock:
            self._closed = True
            channels = tuple(self._channels)
        for channel in channels:
            channel.closing = True
            # A thread that waits on it is woken by the end of the context, and closes it then.
            if channel.lock.acquire(blocking=not self._owns_context):
                channel.close()
                channel.lock.release()
        if self._owns_context:
            self._context.term()

    # connections

    def _acquire(self) -> Channel:
        """A free connection or a new one. Raises Unreachable, NotAllowed, BadMessage."""
        try:
            return self._free.pop()
        except IndexError:
            return self._open()

    def release(self, channel: Channel) -> None:
        """The call on it is over."""
        if channel.closing or self._closed or len(self._free) >= MAX_FREE:
            self._drop(channel)
        else:
            self._free.append(channel)

    def cancel(self, channel: Channel, id: int) -> None:
        """Tell the router that the reply is not wanted any more."""
        try:
            with channel.lock:
                channel.cancel(id)
        except (Disconnected, Closed, zmq.ZMQError):
            self._drop(channel)
        else:
            self.release(channel)

    def _drop(self, channel: Channel) -> None:
        with self._lock:
            self._channels.discard(channel)
        channel.close()

    def _open(self) -> Channel:
        """A new connection, greeted by the router."""
        with self._lock:
            if self._closed:
                raise self._unreachable(Closed())
            connection = Connection(
                self._context,
                self.front,
                security=self._security,
                decode=message.to_client.decode,
                receive_s=self._ping_s,
                send_s=self._connect_s,
                silence_s=self._dead_s,
            )
            channel = Channel(connection, self._ping_s)
            self._channels.add(channel)
        try:
            with channel.lock:
                self._directory = channel.greet(self._connect_s).directory
        except (Disconnected, Closed) as error:
            self._drop(channel)
            raise self._unreachable(Closed() if self._closed else error) from None
        except BaseException:
            self._drop(channel)
            raise
        return channel

    # errors

    def failure(self, error: Exception, call: Call) -> RagError:
        """The error a caller gets when the connection or the router failed."""
        method = f"{call.target}.{call.method}"
        if isinstance(error, TimedOut):
            return DeadlineExceeded(
                "{method} gave no reply in {seconds:g} s", method=method, seconds=call.deadline_s
            )
        if isinstance(error, UnknownRequest):
            return WorkerLost("the router went away during {method}; ask again", method=method)
        return self._unreachable(error)

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, Disconnected):
            return Unreachable(
                "nobody answers at {url}; start the services with `rwkv-rag up`", url=self.front
            )
        return Unreachable("the connection was closed; open it again")


class ReplyStream:
    """The values of one call, a window of them sent ahead.

    Any thread may fetch, one at a time; any may close it, which cancels the call.
    """

    def __init__(self, client: QueueClient, channel: Channel, id: int, call: Call) -> None:
        self._client, self._id, self._call = client, id, call
        self._channel: Channel | None = channel
        self._credit = 0

    def __iter__(self) -> ReplyStream:
        return self

    def __next__(self) -> Any:
        channel = self._channel
        if channel is None:
            raise StopIteration
        try:
            with channel.lock:
                if self._credit <= HALF_WINDOW:
                    channel.grant(self._id, message.WINDOW - self._credit)
                    self._credit = message.WINDOW
                until = time.monotonic() + self._call.deadline_s + GRACE_S
                answer, body = channel.wait(self._id, until)
            return self._value(channel, answer, body)
        except (UnknownRequest, Closed, TimedOut) as error:
            self._end(channel, cancel=True)
            raise self._client.failure(error, self._call) from None
        except Stopped:
            self._end(channel, cancel=True)
            raise StopIteration from None
        except BaseException:  # Ctrl-C, a message that cannot be read
            self._end(channel, cancel=True)
            raise

    def _value(self, channel: Channel, answer: Any, body: codec.Data) -> Any:
        if type(answer) is message.Reply:
            self._credit -= 1
            if channel.stopped:
                raise Stopped
            return codec.decode(body, self._call.returns)
        self._end(channel)
        if type(answer) is message.End:
            raise StopIteration
        raise _error_of(answer, self._call)

    def close(self) -> None:
        """Cancel the call if it is not over; a thread that waits for a value is told to stop."""
        channel = self._channel
        if channel is None:
            return
        channel.stopped = True
        if channel.lock.acquire(blocking=False):
            channel.lock.release()
            self._end(channel, cancel=True)

    __del__ = close

    def _end(self, channel: Channel, *, cancel: bool = False) -> None:
        if self._channel is None:
            return
        self._channel = None
        if cancel:
            self._client.cancel(channel, self._id)
        else:
            self._client.release(channel)


def _error_of(answer: Any, call: Call) -> RagError:
    """The error that was sent, or that something else was sent."""
    if type(answer) is message.Fault:
        return codec.raised(answer.code, answer.message)
    return BadMessage(
        "{method} gave an unexpected reply: {kind}", method=call.method, kind=type(answer).__name__
    )
