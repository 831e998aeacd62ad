"""One connection to a router: a DEALER with limits on every wait. Knows no meaning of messages.

It belongs to one thread at a time. Nothing is kept for a router that is away: what cannot be sent
now is not sent later, when nobody waits for it any more.
"""

from __future__ import annotations

import contextlib
import socket as sockets
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from rwkv_rag.bus.address import Address
from rwkv_rag.bus.codec import MAX_MESSAGE_BYTES
from rwkv_rag.bus.message import MAX_ENVELOPE_BYTES, unreadable
from rwkv_rag.bus.security import FAILURES, REFUSALS, PeerSecurity, Security, refusal

Message: TypeAlias = tuple[Any, Any]
CUTS, CUTS_WITHIN_S = 3, 10.0  # more than a router that starts again can account for
BUFFER_BYTES = 1 << 20  # a batch of vectors goes through the system in one piece
_NOW, _MORE = int(zmq.NOBLOCK), int(zmq.SNDMORE)
_GONE = (zmq.ETERM, zmq.ENOTSOCK)


class Closed(Exception):
    """The context or the socket was closed under the caller's feet."""


class Lost(Exception):
    """The router cannot be reached."""


class Link(Protocol):
    """What a caller and a slot need of a connection."""

    def ready(self, until: float) -> None: ...

    def connected(self) -> None: ...

    def alive(self) -> bool: ...

    def keep(self) -> None: ...

    def wake(self) -> None: ...

    def send(self, envelope: bytes, *body: Any, wait: bool = True) -> None: ...

    def receive(self) -> Message | None: ...

    def within(self, receive_s: float) -> Message | None: ...

    def close(self) -> None: ...


def roomy(socket: sockets.socket) -> None:
    """Make ready a plain socket: no waiting for more to send, room for a batch of vectors."""
    if socket.family != getattr(sockets, "AF_UNIX", None):
        socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
    for buffer in (sockets.SO_SNDBUF, sockets.SO_RCVBUF):
        socket.setsockopt(sockets.SOL_SOCKET, buffer, BUFFER_BYTES)


def prepare(socket: zmq.Socket[bytes], security: Security | None, silence_s: float) -> None:
    """What every socket of the bus has: keys, no lingering, no giant frames, a check of the line.

    A line that is silent for `silence_s` is cut by libzmq, which needs no thread of ours for it.
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
    """`decode` reads envelopes. `receive_s` and `send_s` are the longest that one of them waits."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        url: str,
        *,
        security: PeerSecurity | None,
        decode: Callable[[Any], Any],
        receive_s: float,
        send_s: float,
        silence_s: float,
    ) -> None:
        self.socket = context.socket(zmq.DEALER)
        address = Address.parse(url)
        prepare(self.socket, security, silence_s)
        self.socket.ipv6 = address.six
        self.socket.immediate = True
        self.socket.reconnect_ivl = 50
        self.socket.reconnect_ivl_max = 1000
        self.socket.sndtimeo = int(send_s * 1000)
        self._receive_ms = self.socket.rcvtimeo = int(receive_s * 1000)
        self._url, self._has_keys = address.url, security is not None
        self._cut: deque[float] = deque(maxlen=CUTS)  # when a handshake ended, nobody said why
        self._handshakes = self.socket.get_monitor_socket(FAILURES)
        self.socket.connect(address.url)
        basic: Any = super(zmq.Socket, self.socket)  # without the flags as enums: twice as quick
        self._send, self._receive, self._decode = basic.send, basic.recv, decode

    def ready(self, until: float) -> None:
        """Wait for the line. Raises Lost, or NotAllowed where the keys do not fit."""
        while (left := until - time.monotonic()) > 0:
            if self.poll(min(left, 0.1), zmq.POLLOUT):
                return
            self.check_keys()
        raise Lost

    def check_keys(self) -> None:
        """Raises NotAllowed where the router has refused the keys of this side.

        A router that cannot even read what is said to it hangs up and does not say why.
        """
        while self._handshakes.poll(0):
            event = parse_monitor_message(self._handshakes.recv_multipart())["event"]
            self._cut.append(time.monotonic())
            if event & REFUSALS:
                raise refusal(self._url, self._has_keys)
        if len(self._cut) == CUTS and self._cut[-1] - self._cut[0] < CUTS_WITHIN_S:
            raise refusal(self._url, self._has_keys)

    def connected(self) -> None:
        """Wait for the line, `receive_s` at most; libzmq goes on trying after that."""
        self.poll(self._receive_ms / 1000, zmq.POLLOUT)

    def poll(self, wait_s: float, flags: int = zmq.POLLIN) -> bool:
        """Whether the socket becomes ready for what `flags` say."""
        try:
            return bool(self.socket.poll(max(1, int(wait_s * 1000)), flags))
        except zmq.ZMQError as error:
            raise _translated(error) from None

    def alive(self) -> bool:
        """libzmq looks after the line."""
        return True

    def keep(self) -> None:
        """The same."""

    def wake(self) -> None:
        """Whoever waits is woken by the end of the context."""

    def send(self, envelope: bytes, *body: Any, wait: bool = True) -> None:
        """Raises Lost where the router is away (for `send_s`, with `wait`)."""
        flags = 0 if wait else _NOW
        try:
            if not body:
                self._send(envelope, flags)
            else:
                self._send(envelope, flags | _MORE)
                self._send(body[0] if len(body) == 1 else b"".join(body), flags)
        except zmq.Again:
            raise Lost from None
        except zmq.ZMQError as error:
            raise _translated(error) from None

    def receive(self) -> Message | None:
        """The next message, decoded envelope and body; None when there was none for `receive_s`.

        Raises BadMessage for one that cannot be read.
        """
        try:
            envelope, body = self._receive(0, False), b""
            if envelope.more:
                body = frame = self._receive(0, False)
                while frame.more:
                    frame = self._receive(0, False)
            return self._decode(envelope), body
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            raise _translated(error) from None
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise unreadable(error) from error

    def within(self, receive_s: float) -> Message | None:
        """`receive`, but with another limit (not under a millisecond)."""
        self.socket.rcvtimeo = max(1, int(receive_s * 1000))
        try:
            return self.receive()
        finally:
            with contextlib.suppress(zmq.ZMQError):
                self.socket.rcvtimeo = self._receive_ms

    def close(self) -> None:
        with contextlib.suppress(zmq.ZMQError):  # closed already
            self.socket.disable_monitor()
        self._handshakes.close(linger=0)
        self.socket.close(linger=0)


def _translated(error: zmq.ZMQError) -> Exception:
    return Closed() if error.errno in _GONE else error
