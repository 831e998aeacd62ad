"""One connection to a router: a DEALER with limits on every wait. Knows no envelope.

It belongs to one thread at a time. Nothing is kept for a router that is away: what cannot be sent
now is not sent later, when nobody waits for it any more.
"""

from __future__ import annotations

import contextlib

import zmq

from rwkv_rag.bus.address import Address
from rwkv_rag.bus.codec import MAX_MESSAGE_BYTES
from rwkv_rag.bus.message import MAX_ENVELOPE_BYTES
from rwkv_rag.bus.security import PeerSecurity, Security, check_open

Frames = list[bytes]
LARGE_BYTES = 65_536  # from here on a copy costs more than sharing the memory
_GONE = (zmq.ETERM, zmq.ENOTSOCK)


class Closed(Exception):
    """The context or the socket was closed under the caller's feet."""


class Lost(Exception):
    """The router cannot be reached."""


def prepare(
    socket: zmq.Socket[bytes], address: Address, security: Security | None, silence_s: float
) -> None:
    """What every socket of the bus has: keys, no lingering, no giant frames, a check of the line.

    A line that is silent for `silence_s` is cut by libzmq, which needs no thread of ours for it.
    Raises InputError for an address beyond this machine without keys.
    """
    check_open(address, security)
    if security is not None:
        security.apply(socket)
    socket.ipv6 = address.six
    socket.linger = 0
    socket.maxmsgsize = MAX_MESSAGE_BYTES + MAX_ENVELOPE_BYTES
    socket.heartbeat_ivl = max(100, int(silence_s * 1000 / 4))
    socket.heartbeat_timeout = int(silence_s * 1000)
    socket.handshake_ivl = 10_000


class Connection:
    """`receive_s` and `send_s` are the longest that one of either waits."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        url: str,
        *,
        security: PeerSecurity | None,
        receive_s: float,
        send_s: float,
        silence_s: float,
    ) -> None:
        self.socket = context.socket(zmq.DEALER)
        address = Address.parse(url)
        prepare(self.socket, address, security, silence_s)
        self.socket.immediate = True
        self.socket.reconnect_ivl = 50
        self.socket.reconnect_ivl_max = 1000
        self.socket.sndtimeo = int(send_s * 1000)
        self._receive_ms = self.socket.rcvtimeo = int(receive_s * 1000)
        self.socket.connect(address.url)

    def send(self, *frames: bytes, wait: bool = True) -> None:
        """Raises Lost where the router is away (for `send_s`, with `wait`)."""
        try:
            self.socket.send_multipart(frames, 0 if wait else zmq.NOBLOCK)
        except zmq.Again:
            raise Lost from None
        except zmq.ZMQError as error:
            raise _translated(error) from None

    def receive(self) -> list[bytes] | None:
        """The next message; None when there was none for `receive_s`."""
        try:
            return self.socket.recv_multipart()
        except zmq.Again:
            return None
        except zmq.ZMQError as error:
            raise _translated(error) from None

    def within(self, receive_s: float) -> list[bytes] | None:
        """`receive`, but with another limit (not under a millisecond)."""
        self.socket.rcvtimeo = max(1, int(receive_s * 1000))
        try:
            return self.receive()
        finally:
            with contextlib.suppress(zmq.ZMQError):
                self.socket.rcvtimeo = self._receive_ms

    def close(self) -> None:
        self.socket.close(linger=0)


def _translated(error: zmq.ZMQError) -> Exception:
    return Closed() if error.errno in _GONE else error
