"""Where a router of this machine is met without keys: plain sockets that its own thread serves.

What `port` does with libzmq and its thread, at a third of the system calls; peers may use any
library of ZeroMQ. Whoever is silent is asked for a sign of life, and then given up. Knows no
envelope.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket as sockets
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from rwkv_rag.bus import zmtp
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.codec import Data
from rwkv_rag.bus.connection import roomy
from rwkv_rag.bus.dispatch import Full, Gone
from rwkv_rag.bus.port import HIGH_WATER, unusable
from rwkv_rag.bus.security import check_open
from rwkv_rag.bus.zmtp import CHUNK_BYTES, COMMAND, GREETING, GREETING_BYTES, MORE
from rwkv_rag.errors import BadMessage

Message: TypeAlias = tuple[bytes, Data, Data | None]

BACKLOG = 512  # connections that wait to be accepted
HANDSHAKE_S = 10.0
ANSWER_S = 1.0  # for a router that may still be at work
SIGNS = 4  # so often a silent peer is asked for a sign of life before it is given up
PARTS = 64  # sent at once
_IN, _OUT = 1, 4  # of epoll


@dataclass(slots=True, eq=False)
class Peer:
    """A connection; `silent` counts the looks at it since it last said something."""

    socket: sockets.socket
    identity: bytes
    back: bool  # whether it came in where workers do
    since: float
    greeting: bytes = b""
    ready: bool = False  # the handshake is over
    silent: int = 0
    reader: zmtp.Reader = field(default_factory=zmtp.Reader)
    waiting: list[Data] = field(default_factory=list)  # for the system to take it


class PlainPort:
    """`front` and `back` are where it is really bound. `receive` waits as long as `wait` said."""

    def __init__(self, front: str, back: str, *, silence_s: float) -> None:
        addresses = [Address.parse(url) for url in (front, back)]
        for address in addresses:
            check_open(address, None)
        self._look_s, self._look_at = silence_s / SIGNS, 0.0
        self._wait_s, self._cut = -1.0, False
        self._doors: dict[int, tuple[sockets.socket, bool]] = {}
        self._peers: dict[int, Peer] = {}  # by their files
        self._known: dict[bytes, Peer] = {}  # by their identities
        self._last = int.from_bytes(os.urandom(3), "big")
        self._arrived: deque[Message | BadMessage] = deque()
        with ExitStack() as opened:
            self._poll = opened.enter_context(select.epoll())
            urls = [self._open(address, opened) for address in addresses]
            self._closing = opened.pop_all()
        self.front, self.back = urls

    @staticmethod
    def fits(*urls: str) -> bool:
        """Whether addresses can be served this way."""
        return hasattr(select, "epoll") and all(
            Address.parse(url).scheme in ("tcp", "ipc") for url in urls
        )

    def _open(self, address: Address, opened: ExitStack) -> str:
        """Bind; the address with the port that the system chose."""
        try:
            socket = opened.enter_context(_listening(address))
        except OSError as error:
            raise unusable(address, error) from error
        if address.scheme == "ipc":
            opened.callback(_remove, address.host)
        else:
            address = replace(address, port=socket.getsockname()[1])
        socket.setblocking(False)
        self._poll.register(socket, _IN)
        self._doors[socket.fileno()] = socket, bool(self._doors)
        return address.url

    def wait(self, limit_s: float) -> None:
        """How long `receive` waits at most from now on."""
        self._wait_s = limit_s

    def receive(self) -> Message | None:
        """The next message: identity, envelope, body. Raises BadMessage for one of more frames."""
        if not self._arrived:
            for file, event in self._poll.poll(self._wait_s):
                self._serve(file, event)
            if not self._arrived:
                return None
        arrived = self._arrived.popleft()
        if isinstance(arrived, BadMessage):
            raise arrived
        return arrived

    def send(self, identity: bytes, envelope: Data, body: Data | None = None) -> None:
        """Raises Gone and Full."""
        peer = self._known.get(identity)
        if peer is None:
            raise Gone
        if len(peer.waiting) >= HIGH_WATER:
            raise Full
        self._put(peer, zmtp.parts(envelope) if body is None else zmtp.parts(envelope, body))

    def from_back(self, identity: bytes, _: Data) -> bool:
        """Whether the peer came in at the back door."""
        peer = self._known.get(identity)
        return peer is not None and peer.back

    def owner(self, _: Data) -> str:
        """The public key of whoever sent a frame: there are no keys."""
        return ""

    def cut(self) -> bool:
        """Whether connections were cut since this was last asked."""
        found, self._cut = self._cut, False
        return found

    def keep(self, now: float) -> None:
        """Ask the silent for a sign of life, and give up those that gave none."""
        if now < self._look_at:
            return
        self._look_at = now + self._look_s
        for door in self._doors:
            self._poll.modify(door, _IN)
        for peer in tuple(self._peers.values()):
            peer.silent += 1
            late = not peer.ready and now - peer.since > HANDSHAKE_S
            if late or peer.silent > SIGNS + 1:
                self._drop(peer)
            elif peer.ready and peer.silent > 1 and not peer.waiting:
                with contextlib.suppress(Gone):
                    self._put(peer, [zmtp.PING])

    def close(self) -> None:
        for peer in self._peers.values():
            peer.socket.close()
        self._closing.close()

    # a connection

    def _serve(self, file: int, event: int) -> None:
        peer = self._peers.get(file)
        if peer is None:
            if file in self._doors:
                self._accept(file)
            return
        try:
            if event & _OUT:
                self._flush(peer)
            if event & ~_OUT:
                self._read(peer)
        except BlockingIOError:
            pass
        except (OSError, EOFError, BadMessage, Gone):
            self._drop(peer)

    def _accept(self, file: int) -> None:
        door, back = self._doors[file]
        try:
            socket, _ = door.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:  # no files left: the next look at all peers opens the door again
            self._poll.modify(file, 0)
            return
        socket.setblocking(False)
        roomy(socket)
        self._last += 1
        identity = b"\0" + (self._last & 0xFFFFFFFF).to_bytes(4, "big")
        peer = Peer(socket, identity, back, time.monotonic())
        self._peers[socket.fileno()] = self._known[identity] = peer
        self._poll.register(socket, _IN)
        with contextlib.suppress(Gone):
            self._put(peer, [GREETING])

    def _drop(self, peer: Peer) -> None:
        if self._known.pop(peer.identity, None) is not None:
            self._cut = True
            del self._peers[peer.socket.fileno()]
            peer.socket.close()

    def _read(self, peer: Peer) -> None:
        """Take what came; messages wait in `_arrived` then."""
        peer.silent, reader = 0, peer.reader
        if not peer.ready and len(peer.greeting) < GREETING_BYTES:
            return self._greet(peer)
        if reader.large:
            items = reader.grow(peer.socket.recv_into(reader.room()))
        else:
            items = reader.feed(peer.socket.recv(CHUNK_BYTES))
        for item in items:
            flags, envelope, body = item
            if not peer.ready:
                zmtp.check_ready(item, b"DEALER")
                peer.ready = True
            elif flags & COMMAND:
                if answer := zmtp.answer(envelope):
                    self._put(peer, [answer])
            elif flags & MORE:
                self._arrived.append(BadMessage("a message of too many frames"))
            else:
                self._arrived.append((peer.identity, envelope, body))
        return None

    def _greet(self, peer: Peer) -> None:
        read = peer.socket.recv(GREETING_BYTES - len(peer.greeting))
        peer.greeting += read
        if not read:
            raise EOFError
        if len(peer.greeting) == GREETING_BYTES:
            if zmtp.asks_for_keys(peer.greeting):
                raise BadMessage("keys, where there are none")
            self._put(peer, [zmtp.ready(b"ROUTER")])

    def _put(self, peer: Peer, parts: list[Data]) -> None:
        if peer.waiting:
            peer.waiting += parts
            return
        try:
            left = _sent(peer.socket, parts)
        except OSError as error:
            self._drop(peer)
            raise Gone from error
        if left:
            peer.waiting = left
            self._poll.modify(peer.socket, _IN | _OUT)

    def _flush(self, peer: Peer) -> None:
        peer.waiting = _sent(peer.socket, peer.waiting)
        if not peer.waiting:
            self._poll.modify(peer.socket, _IN)


def _sent(socket: sockets.socket, parts: list[Data]) -> list[Data]:
    """Send what the system takes; the rest."""
    with contextlib.suppress(BlockingIOError):
        if len(parts) == 1:
            sent = socket.send(parts[0])
            return [] if sent == len(parts[0]) else zmtp.after(parts, sent)
        while parts:
            parts = zmtp.after(parts, socket.sendmsg(parts[:PARTS]))
    return parts


def _listening(address: Address) -> sockets.socket:
    if address.scheme == "tcp":
        family = sockets.AF_INET6 if address.six else sockets.AF_INET
        return sockets.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    socket = sockets.socket(sockets.AF_UNIX)
    try:
        _make_way(address.host)
        socket.bind(address.host)
        socket.listen(BACKLOG)
    except OSError:
        socket.close()
        raise
    return socket


def _make_way(path: str) -> None:
    """Remove what a router that was killed has left. Raises OSError where one is at work."""
    if not Path(path).is_socket():
        return
    with sockets.socket(sockets.AF_UNIX) as other:
        other.settimeout(ANSWER_S)
        try:
            other.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return _remove(path)
        except TimeoutError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)
