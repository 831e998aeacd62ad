"""One connection to a router on this machine, which the calling thread itself reads and writes.

libzmq has a thread between the caller and the system. Whoever sends and then waits for the answer
pays for it with two more turns of the scheduler, so where nothing is encrypted the frames go to the
system and come from it without that thread. What it does beside falls to whoever has the line:
`keep` shows the router now and then that this side lives. Of messages it knows that a Ping asks for
nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket as sockets
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from rwkv_rag.bus import message, zmtp
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.codec import Data
from rwkv_rag.bus.connection import Connection, Link, Lost, Message, roomy
from rwkv_rag.bus.message import unreadable
from rwkv_rag.bus.security import PeerSecurity, refusal
from rwkv_rag.bus.zmtp import CHUNK_BYTES, COMMAND, GREETING, GREETING_BYTES, VERSION_BYTES
from rwkv_rag.errors import BadMessage, NotAllowed

AGAIN_S = 0.05  # between two tries to connect
QUEUED_S = 1.0  # the longest that one try waits for a router that accepts nobody
MAX_KEPT = 1000  # messages that came while nobody was reading
_TIME = struct.Struct("@ll")  # the system's timeval
_NOW, _ALL = (int(getattr(sockets, name, 0)) for name in ("MSG_DONTWAIT", "MSG_WAITALL"))


def connect(
    context: zmq.Context[zmq.Socket[bytes]],
    url: str,
    *,
    security: PeerSecurity | None,
    decode: Callable[[Any], Any],
    receive_s: float,
    send_s: float,
    silence_s: float,
) -> Link:
    """A connection of the kind that fits the address: this one, or libzmq's for all else."""
    address = Address.parse(url)
    if security is None and address.scheme != "inproc" and os.name == "posix":
        return Direct(address, decode=decode, receive_s=receive_s, send_s=send_s)
    return Connection(
        context,
        url,
        security=security,
        decode=decode,
        receive_s=receive_s,
        send_s=send_s,
        silence_s=silence_s,
    )


class Direct:
    """`decode` reads envelopes. `receive_s` and `send_s` are the longest that one of them waits.

    It belongs to one thread at a time; only `wake` may be called by any. A line on which a message
    broke off, in either direction, is of no more use.
    """

    def __init__(
        self,
        address: Address,
        *,
        decode: Callable[[Any], Any],
        receive_s: float,
        send_s: float,
    ) -> None:
        self._address, self._decode = address, decode
        self._receive_s, self._send_s = receive_s, send_s
        self._wait_ms = receive_s * 1000
        self._socket: Any = None
        self._whole = False  # connected, and no message broke off
        self._woken = False
        self._kept: deque[Message] = deque()
        self._reader = zmtp.Reader()
        self._items: deque[zmtp.Item] = deque()  # what was read and not asked for yet

    # the line

    def ready(self, until: float) -> None:
        """Connect. Raises Lost, or NotAllowed where the router asks for keys."""
        while not self._whole:
            left = until - time.monotonic()
            try:
                self._connect(max(left, AGAIN_S))
            except NotAllowed:
                self.close()
                raise
            except (OSError, EOFError, BadMessage) as error:
                self.close()
                if self._woken or left <= AGAIN_S:
                    raise Lost from error
                time.sleep(AGAIN_S)

    def connected(self) -> None:
        """Connect within `receive_s`. Raises Lost."""
        try:
            self.ready(time.monotonic() + self._receive_s)
        except NotAllowed as error:  # the worker's other line says so to the user
            raise Lost from error

    def _connect(self, within_s: float) -> None:
        """Raises OSError, EOFError, BadMessage where nobody is there, or somebody else."""
        place = self._address
        if place.scheme == "ipc":
            self._attach(sockets.socket(sockets.AF_UNIX))
            self._socket.settimeout(min(within_s, QUEUED_S))
            self._socket.connect(place.host)
            self._socket.settimeout(within_s)
        else:
            self._attach(sockets.create_connection((place.host, place.port), within_s))
        self._greet()
        self._socket.settimeout(None)  # from now on the system keeps the limit
        limit = _TIME.pack(int(self._send_s), int(self._send_s % 1 * 1e6))
        for which in (sockets.SO_RCVTIMEO, sockets.SO_SNDTIMEO):
            self._socket.setsockopt(sockets.SOL_SOCKET, which, limit)
        self._whole = True

    def _attach(self, socket: sockets.socket) -> None:
        self._socket = socket
        if self._woken:  # by now or later by what `wake` does to the socket
            raise EOFError
        roomy(socket)
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        self._wait, self._read, self._send = poll.poll, socket.recv, socket.send

    def _greet(self) -> None:
        self._socket.sendall(GREETING[:VERSION_BYTES])
        greeting = b""  # a router that asks for keys says so only to one who waits here
        while len(greeting) < GREETING_BYTES:
            greeting += self._read(GREETING_BYTES - len(greeting)) or _ended()
        if zmtp.asks_for_keys(greeting):
            raise refusal(self._address.url, has_keys=False)
        self._socket.sendall(GREETING[VERSION_BYTES:] + zmtp.ready(b"DEALER"))
        zmtp.check_ready(self._item(), b"ROUTER")

    def alive(self) -> bool:
        """Whether the line is there, as far as can be known without asking the router."""
        if self._whole and self._wait(0):
            self.keep()
        return self._whole

    def keep(self) -> None:
        """Answer the router's library, which asks for a sign of life; keep what else came."""
        try:
            while self._whole and (self._items or self._wait(0)):
                with contextlib.suppress(BadMessage):
                    received = self._message()
                    if received is not None and type(received[0]) is not message.Ping:
                        self._kept.append(received)
                self._whole = self._whole and len(self._kept) <= MAX_KEPT
        except Lost:
            pass

    def wake(self) -> None:
        """End the line, and with it the wait of another thread."""
        self._woken = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(sockets.SHUT_RDWR)

    def close(self) -> None:
        self._whole, self._reader = False, zmtp.Reader()
        self._items.clear()
        if self._socket is not None:
            self._socket.close()

    # messages

    def send(self, envelope: bytes, *body: Data, wait: bool = True) -> None:
        """Raises Lost where the router is away or takes nothing (for `send_s`, with `wait`)."""
        if not self._whole:
            raise Lost
        parts = zmtp.parts(envelope, *body)
        self._put(parts, 0 if wait else _NOW)

    def _put(self, parts: list[Data], flags: int = 0) -> None:
        self._whole = False
        try:
            if len(parts) == 1:
                sent = self._send(parts[0], flags)
                parts = [] if sent == len(parts[0]) else zmtp.after(parts, sent)
            while parts:
                parts = zmtp.after(parts, self._socket.sendmsg(parts))
        except OSError as error:
            raise Lost from error
        self._whole = True

    def receive(self) -> Message | None:
        """The next message, decoded envelope and body. None when there was none for `receive_s`,
        or sooner where the router's library wanted to hear of this side.

        Raises BadMessage for one that cannot be read, and Lost.
        """
        if self._kept:
            return self._kept.popleft()
        if not self._whole:
            raise Lost
        return self._message()

    def within(self, receive_s: float) -> Message | None:
        """`receive`, but with another limit (not under a millisecond)."""
        self._wait_ms = max(1.0, receive_s * 1000)
        try:
            return self.receive()
        finally:
            self._wait_ms = self._receive_s * 1000

    def _message(self) -> Message | None:
        if not self._items and not self._wait(self._wait_ms):
            return None
        self._whole = False
        try:
            flags, envelope, body = self._item()
        except (OSError, EOFError, BadMessage) as error:
            raise Lost from error
        self._whole = True
        if flags & COMMAND:
            if answer := zmtp.answer(envelope):
                self._put([answer])
            return None
        try:
            return self._decode(envelope), b"" if body is None else body
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise unreadable(error) from error

    def _item(self) -> zmtp.Item:
        """The next message or command, when it is there."""
        if self._items:
            return self._items.popleft()
        reader, found = self._reader, None
        while not found:
            if reader.large:
                found = reader.grow(self._socket.recv_into(reader.room(), 0, _ALL))
            else:
                found = reader.feed(self._read(CHUNK_BYTES))
        self._items.extend(found[1:])
        return found[0]


def _ended() -> bytes:
    raise EOFError
