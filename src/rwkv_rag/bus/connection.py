"""A client's or worker's connection to a router: a DEALER socket with a limit on every wait.

Used by one thread at a time. Nothing is queued for a router that cannot be reached: what cannot be
sent now fails now. Knows the size and number of frames, not what the messages mean.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from rwkv_rag.bus.address import Address
from rwkv_rag.bus.codec import MAX_MESSAGE_BYTES
from rwkv_rag.bus.message import MAX_ENVELOPE_BYTES, unreadable
from rwkv_rag.bus.security import FAILURES, REFUSALS, PeerSecurity, Security, refused_by

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"
Socket: TypeAlias = "zmq.Socket[bytes]"
Received: TypeAlias = tuple[Any, bytes | memoryview]

MAX_CUTS, CUTS_WITHIN_S = 3, 10.0  # handshakes cut without a reason; a restart explains fewer
BUFFER_BYTES = 1 << 20  # of the system's socket buffers: room for a batch of vectors
_CLOSED = (zmq.ETERM, zmq.ENOTSOCK, zmq.ENOTSUP)  # the last by pyzmq, from poll


class Closed(Exception):
    """The socket or its context was closed by another thread."""


class Disconnected(Exception):
    """The router cannot be reached."""


def configure(socket: Socket, security: Security | None, silence_s: float) -> None:
    """Options of every socket: keys, no lingering, size limits, heartbeats.

    libzmq closes a connection on which nothing, not even its own heartbeat, arrived for
    `silence_s`.
    """
    if security is not None:
        security.apply(socket)
    socket.linger = 0
    socket.sndbuf = socket.rcvbuf = BUFFER_BYTES
    socket.maxmsgsize = MAX_MESSAGE_BYTES + MAX_ENVELOPE_BYTES
    socket.heartbeat_ivl = max(100, int(silence_s * 1000 / 4))
    socket.heartbeat_timeout = int(silence_s * 1000)
    socket.handshake_ivl = 10_000


class Connection:
    """Connects in the background and again after a loss.

    decode      reads an envelope
    receive_s   the longest wait of `receive`
    send_s      the longest wait of `send`
    silence_s   see `configure`
    """

    def __init__(
        self,
        context: Context,
        url: str,
        *,
        security: PeerSecurity | None,
        decode: Callable[[Any], Any],
        receive_s: float,
        send_s: float,
        silence_s: float,
    ) -> None:
        self.socket = context.socket(zmq.DEALER)
        configure(self.socket, security, silence_s)
        self.socket.ipv6 = Address.parse(url).ipv6
        self.socket.immediate = True  # no queue while there is no connection
        self.socket.reconnect_ivl = 50
        self.socket.reconnect_ivl_max = 1000
        self.socket.sndtimeo = int(send_s * 1000)
        self._receive_s, self._decode = receive_s, decode
        self._url, self._has_keys = url, security is not None
        self._cuts: deque[float] = deque(maxlen=MAX_CUTS)
        self._handshakes = self.socket.get_monitor_socket(FAILURES)
        self.socket.connect(url)

    def wait_connected(self, until: float) -> None:
        """Raises Disconnected after `until` (monotonic clock), NotAllowed where keys do not fit."""
        while (left := until - time.monotonic()) > 0:
            if self._poll(min(left, 0.1), zmq.POLLOUT):
                return
            self.check_keys()
        raise Disconnected

    def wait_writable(self) -> None:
        """Wait for a connection, `receive_s` at most; libzmq keeps trying after that."""
        self._poll(self._receive_s, zmq.POLLOUT)

    def check_keys(self) -> None:
        """Raises NotAllowed where the router has refused this side's keys.

        A router that cannot decrypt what it gets closes the connection without giving a reason, so
        several such closes in a row count as a refusal.
        """
        while self._handshakes.poll(0):
            event = parse_monitor_message(self._handshakes.recv_multipart())["event"]
            self._cuts.append(time.monotonic())
            if event & REFUSALS:
                raise refused_by(self._url, self._has_keys)
        if len(self._cuts) == MAX_CUTS and self._cuts[-1] - self._cuts[0] < CUTS_WITHIN_S:
            raise refused_by(self._url, self._has_keys)

    def send(self, envelope: bytes, *body: Any, wait: bool = True) -> None:
        """Raises Disconnected: at once, or with `wait` after `send_s`."""
        try:
            self.socket.send_multipart((envelope, *body), 0 if wait else zmq.NOBLOCK)
        except zmq.Again:
            raise Disconnected from None
        except zmq.ZMQError as error:
            raise _closed_or(error) from None

    def receive(self, wait_s: float | None = None) -> Received | None:
        """The next message as decoded envelope and body; None if none came in time.

        Raises BadMessage for one that cannot be read.
        """
        if not self._poll(self._receive_s if wait_s is None else wait_s, zmq.POLLIN):
            return None
        try:
            envelope, *frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            return self._decode(envelope), frames[0].buffer if frames else b""
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            raise _closed_or(error) from None
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise unreadable(error) from error

    def close(self) -> None:
        with contextlib.suppress(zmq.ZMQError):  # closed already
            self.socket.disable_monitor()
        self._handshakes.close(linger=0)
        self.socket.close(linger=0)

    def _poll(self, wait_s: float, flags: int) -> bool:
        try:
            return bool(self.socket.poll(max(1, int(wait_s * 1000)), flags))
        except zmq.ZMQError as error:
            raise _closed_or(error) from None


def _closed_or(error: zmq.ZMQError) -> Exception:
    return Closed() if error.errno in _CLOSED else error
