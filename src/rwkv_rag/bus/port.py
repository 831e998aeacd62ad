"""Where a router is met: one ROUTER socket, bound in front for clients and behind for workers.

One socket and not two, since then its thread can wait in the kernel for whoever says something
first, which is a third of the router's time. Through which door a peer came in its connection
tells. Knows no envelope.
"""

from __future__ import annotations

import contextlib
import os
import socket as sockets
from collections.abc import Iterator
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
_NOW, _NOW_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)


class Port:
    """`front` and `back` are where it is really bound. `receive` waits as long as `wait` said.

    Asks nothing of pyzmq but what its compiled part does: that is another third of the time.
    """

    def __init__(
        self,
        context: Context,
        front: str,
        back: str,
        *,
        security: RouterSecurity | None,
        silence_s: float,
    ) -> None:
        addresses = [Address.parse(url) for url in (front, back)]
        for address in addresses:
            check_open(address, security)
        with ExitStack() as opened:
            socket = context.socket(zmq.ROUTER)
            opened.callback(socket.close, 0)
            prepare(socket, security, silence_s)
            socket.router_mandatory = True
            socket.sndhwm = HIGH_WATER
            self._cuts = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            opened.callback(self._cuts.close, 0)
            opened.callback(socket.disable_monitor)
            self._front, self._back = (_bound(socket, address) for address in addresses)
            self._open = opened.pop_all()
        self.front, self.back = self._front.url, self._back.url
        self._socket, self._wait_ms = socket, -1
        basic: Any = super(zmq.Socket, socket)
        self._receive, self._send = basic.recv, basic.send

    def wait(self, limit_s: float) -> None:
        """How long `receive` waits at most from now on."""
        if (limit_ms := max(1, int(limit_s * 1000))) != self._wait_ms:
            self._socket.rcvtimeo = self._wait_ms = limit_ms

    def receive(self) -> Message | None:
        """The next message: identity, envelope, body. Raises BadMessage for one of more frames."""
        try:
            identity = self._receive()
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

    def from_back(self, _: bytes, frame: zmq.Frame) -> bool:
        """Whether the connection that `frame` came by was made to the back door.

        Whoever is in this process (inproc) may use either.
        """
        if self._back.scheme == "inproc":
            return True
        try:
            with _borrowed(frame.get(zmq.SRCFD)) as connection:
                return _leads_to(self._back, self._front, connection.getsockname())
        except (zmq.ZMQError, OSError):
            return False

    def owner(self, frame: zmq.Frame) -> str:
        """The public key of whoever sent a frame; empty where there are no keys."""
        try:
            return str(frame.get("User-Id"))
        except zmq.ZMQError:
            return ""

    def keep(self, now: float) -> None:
        """Look after the lines: libzmq does."""

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


@contextlib.contextmanager
def _borrowed(fd: int) -> Iterator[sockets.socket]:
    """The connection behind a file descriptor that stays libzmq's own."""
    connection = sockets.socket(fileno=fd)
    try:
        yield connection
    finally:
        connection.detach()


def _leads_to(door: Address, other: Address, name: object) -> bool:
    """Whether the local end of a connection, as the system names it, belongs to the door."""
    if not isinstance(name, tuple):  # a path
        return door.scheme == "ipc" and os.fsdecode(name) == door.host  # type: ignore[arg-type]
    host, port = name[:2]
    if door.scheme != "tcp" or port != door.port:
        return False
    return other.scheme != "tcp" or other.port != port or host == door.host


def _bound(socket: zmq.Socket[bytes], address: Address) -> Address:
    """Bind; the address with the port that the system chose."""
    socket.ipv6 = address.six
    try:
        socket.bind(address.url)
    except zmq.ZMQError as error:
        raise unusable(address, error) from error
    if address.scheme != "tcp" or address.port:
        return address
    last = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    return replace(address, port=int(last.rpartition(":")[2]))


def unusable(address: Address, error: zmq.ZMQError | OSError) -> RagError:
    """Why the address cannot be bound."""
    if error.errno == zmq.EADDRINUSE:
        return Busy("the address {url} is in use by another program", url=address.url)
    return InputError(
        "the address {url} cannot be used: {reason}", url=address.url, reason=error.strerror
    )
