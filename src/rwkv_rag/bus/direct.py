"""One connection to a router on this machine, which the calling thread itself reads and writes.

libzmq has a thread between the caller and the system. Whoever sends and then waits for the answer
pays for it with four more turns of the scheduler, so where nothing is encrypted the frames go to
the system and come from it without that thread. What it does beside falls to whoever has the line:
`keep` shows the router now and then that this side lives. Knows no meaning of messages.
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
from rwkv_rag.bus.codec import MAX_MESSAGE_BYTES, Data
from rwkv_rag.bus.connection import BUFFER_BYTES, Connection, Link, Lost, Message
from rwkv_rag.bus.message import MAX_ENVELOPE_BYTES, unreadable
from rwkv_rag.bus.security import PeerSecurity, refusal
from rwkv_rag.bus.zmtp import COMMAND, LONG, LONG_HEAD, MORE, SHORT_HEAD
from rwkv_rag.errors import BadMessage, NotAllowed

MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + MAX_ENVELOPE_BYTES
CHUNK_BYTES = 16_384  # read at once; a larger frame is read where it stays
JOINED_BYTES = 16_384  # a body up to this is copied behind its envelope
AGAIN_S = 0.05  # between two tries to connect
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
        self._data = b""  # what was read and is not used yet

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
            except (OSError, BadMessage, Lost) as error:
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
        """Raises OSError, BadMessage and Lost where nobody is there, or somebody else."""
        place = self._address
        if place.scheme == "ipc":
            self._attach(sockets.socket(sockets.AF_UNIX))
            self._socket.settimeout(within_s)
            self._socket.connect(place.host)
        else:
            self._attach(sockets.create_connection((place.host, place.port), within_s))
            self._socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        self._greet()
        self._socket.settimeout(None)  # from now on the system keeps the limit
        limit = _TIME.pack(int(self._send_s), int(self._send_s % 1 * 1e6))
        for which in (sockets.SO_RCVTIMEO, sockets.SO_SNDTIMEO):
            self._socket.setsockopt(sockets.SOL_SOCKET, which, limit)
        self._whole = True

    def _attach(self, socket: sockets.socket) -> None:
        self._socket = socket
        for buffer in (sockets.SO_SNDBUF, sockets.SO_RCVBUF):
            socket.setsockopt(sockets.SOL_SOCKET, buffer, BUFFER_BYTES)
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        self._wait, self._read, self._send = poll.poll, socket.recv, socket.send

    def _greet(self) -> None:
        self._socket.sendall(zmtp.GREETING[: zmtp.VERSION_BYTES])
        self._fill(zmtp.GREETING_BYTES)  # a router with keys says so only to one who waits here
        greeting, self._data = self._data[: zmtp.GREETING_BYTES], self._data[zmtp.GREETING_BYTES :]
        if zmtp.asks_for_keys(greeting):
            raise refusal(self._address.url, has_keys=False)
        self._socket.sendall(zmtp.GREETING[zmtp.VERSION_BYTES :] + zmtp.READY)
        flags, body = self._frame()
        zmtp.check_ready(bytes(body) if flags & COMMAND else b"")

    def alive(self) -> bool:
        """Whether the line is there, as far as can be known without asking the router."""
        if self._whole and self._wait(0):
            self.keep()
        return self._whole

    def keep(self) -> None:
        """Answer the router's library, which asks for a sign of life; keep what else came."""
        try:
            while self._whole and (self._data or self._wait(0)):
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
        self._whole, self._data = False, b""
        if self._socket is not None:
            self._socket.close()

    # messages

    def send(self, envelope: bytes, *body: Data, wait: bool = True) -> None:
        """Raises Lost where the router is away or takes nothing (for `send_s`, with `wait`)."""
        if not self._whole:
            raise Lost
        if not body:
            data = zmtp.head(len(envelope)) + envelope
        else:
            size = sum(map(len, body))
            data = zmtp.head(len(envelope), MORE) + envelope + zmtp.head(size)
            if size > JOINED_BYTES:
                return self._put([data, *body])
            data = b"".join((data, *body))
        self._whole = False
        try:
            sent = self._send(data, 0 if wait else _NOW)
        except OSError as error:
            raise Lost from error
        if sent != len(data):
            self._put([data[sent:]])
        self._whole = True

    def _put(self, parts: list[Data]) -> None:
        """Send more than goes through the system at once."""
        self._whole = False
        while parts:
            try:
                sent = self._socket.sendmsg(parts)
            except OSError as error:
                raise Lost from error
            parts = _after(parts, sent)
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
        if not self._data and not self._wait(self._wait_ms):
            return None
        envelope: Data
        body: Data
        self._whole, flags = False, 0
        try:
            data = self._data or self._read(CHUNK_BYTES)
            if end := zmtp.pair(data):
                self._data, envelope, body = b"", data[SHORT_HEAD:end], data[end + SHORT_HEAD :]
            else:
                self._data = data
                flags, envelope, body = self._frames()
        except OSError as error:
            raise Lost from error
        self._whole = True
        if flags & COMMAND:
            if answer := zmtp.answer(bytes(envelope)):
                self._put([answer])
            return None
        try:
            return self._decode(envelope), body
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise unreadable(error) from error

    # frames

    def _frames(self) -> tuple[int, Data, Data]:
        """The next message, or command, as `flags` say. What is more than a pair is left out."""
        flags, envelope = self._frame()
        more, body = self._frame() if flags & MORE else (0, b"")
        while more & MORE:
            more, _ = self._frame()
        return flags, envelope, body

    def _frame(self) -> tuple[int, Data]:
        """The next frame: its flags and its bytes."""
        data = self._data
        if len(data) < SHORT_HEAD:
            data = self._fill(SHORT_HEAD)
        flags, size, begin = data[0], data[1], SHORT_HEAD
        if flags & LONG:
            data, begin = self._fill(LONG_HEAD), LONG_HEAD
            size = int.from_bytes(data[1:LONG_HEAD], "big")
        end = begin + size
        if end > len(data):
            return flags, self._long(data[begin:], size)
        self._data = data[end:]
        return flags, data[begin:end]

    def _fill(self, size: int) -> bytes:
        """Read until so many bytes are there."""
        while len(self._data) < size:
            read = self._read(CHUNK_BYTES)
            if not read:
                raise Lost
            self._data += read
        return self._data

    def _long(self, begin: bytes, size: int) -> Data:
        """The frame of this size that goes beyond what was read."""
        if size > MAX_FRAME_BYTES:
            raise Lost
        found, have = bytearray(size), len(begin)
        found[:have], self._data = begin, b""
        with memoryview(found) as view:
            while have < size:
                read = self._socket.recv_into(view[have:], 0, _ALL)
                if not read:
                    raise Lost
                have += read
        return found


def _after(parts: list[Data], size: int) -> list[Data]:
    """What is left of them after so many bytes."""
    left: list[Data] = []
    for part in parts:
        if size < len(part):
            left.append(memoryview(part)[size:])
        size = max(0, size - len(part))
    return left
