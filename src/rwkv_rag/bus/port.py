"""A socket that a router binds: frames in, frames out, by the identity of a connection.

Knows no envelope. It asks nothing of pyzmq but what its compiled part does: per message, that is
half of the router's time.
"""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeAlias

import zmq

from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import prepare
from rwkv_rag.bus.dispatch import Full, Gone
from rwkv_rag.bus.security import RouterSecurity, check_open
from rwkv_rag.errors import BadMessage, Busy, InputError, RagError

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"
Message: TypeAlias = tuple[bytes, zmq.Frame, zmq.Frame | None]

HIGH_WATER = 512  # messages for one peer: more than a slow client's credit and pings
_NOW, _MORE, _EVENTS, _READABLE = map(int, (zmq.NOBLOCK, zmq.SNDMORE, zmq.EVENTS, zmq.POLLIN))
_NOW_MORE = _NOW | _MORE


class Port:
    """`url` is where it is really bound. `fd` and `cuts_fd` are woken once by what is new."""

    def __init__(
        self, context: Context, url: str, *, security: RouterSecurity | None, silence_s: float
    ) -> None:
        with ExitStack() as opened:
            address = Address.parse(url)
            check_open(address, security)
            socket = context.socket(zmq.ROUTER)
            opened.callback(socket.close, 0)
            prepare(socket, address, security, silence_s)
            socket.router_mandatory = True
            socket.sndhwm = HIGH_WATER
            self._cuts = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            opened.callback(self._cuts.close, 0)
            opened.callback(socket.disable_monitor)
            self.url = _bound(socket, address)
            self._open = opened.pop_all()
        basic: Any = super(zmq.Socket, socket)
        self._receive, self._send, self._get = basic.recv, basic.send, basic.get
        self.fd, self.cuts_fd = int(socket.fd), int(self._cuts.fd)

    def readable(self) -> bool:
        """Whether there is a message; to be asked after the last `send`, before waiting on `fd`."""
        return bool(self._get(_EVENTS) & _READABLE)

    def receive(self) -> Message | None:
        """The next message: identity, envelope, body. Raises BadMessage for one of more frames."""
        try:
            identity = self._receive(_NOW)
        except zmq.Again:
            return None
        envelope = self._receive(_NOW, False)
        if not envelope.more:
            return identity, envelope, None
        body = frame = self._receive(_NOW, False)
        if not body.more:
            return identity, envelope, body
        while frame.more:
            frame = self._receive(_NOW, False)
        raise BadMessage("a message of too many frames")

    def send(
        self, identity: bytes, envelope: bytes | zmq.Frame, body: bytes | zmq.Frame | None = None
    ) -> None:
        """Raises Gone and Full."""
        try:
            self._send(identity, _NOW_MORE)
            if body is None:
                self._send(envelope, _NOW)
            else:
                self._send(envelope, _NOW_MORE)
                self._send(body, _NOW)
        except zmq.Again:
            raise Full from None
        except zmq.ZMQError as error:
            raise Gone from error

    def cut(self) -> bool:
        """Whether connections were cut since this was last asked."""
        found = False
        with contextlib.suppress(zmq.Again):
            while True:
                self._cuts.recv_multipart(zmq.NOBLOCK)
                found = True
        return found

    def close(self) -> None:
        self._open.close()


def _bound(socket: zmq.Socket[bytes], address: Address) -> str:
    """Bind; the address with the port that the system chose."""
    try:
        socket.bind(address.url)
    except zmq.ZMQError as error:
        raise _unusable(address, error) from error
    if address.scheme != "tcp" or address.port:
        return address.url
    last = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    return replace(address, port=int(last.rpartition(":")[2])).url


def _unusable(address: Address, error: zmq.ZMQError) -> RagError:
    """Why the address cannot be bound."""
    if error.errno == zmq.EADDRINUSE:
        return Busy(f"the address {address.url} is in use by another program")
    return InputError(f"the address {address.url} cannot be used: {error.strerror}")
