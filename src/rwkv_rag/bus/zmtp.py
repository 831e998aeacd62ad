"""The wire protocol of ZeroMQ between a DEALER and a ROUTER: ZMTP 3.1 without encryption.

greeting ─▶ READY ─▶ frames: flags, size, bytes      https://rfc.zeromq.org/spec/37

Knows no socket and no meaning of messages.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import numpy as np

from rwkv_rag.bus.codec import MAX_MESSAGE_BYTES, Data
from rwkv_rag.bus.message import MAX_ENVELOPE_BYTES
from rwkv_rag.errors import BadMessage

MORE, LONG, COMMAND = 1, 2, 4  # flags of a frame
SHORT_HEAD, LONG_HEAD = 2, 9  # bytes of flags and size
MAX_SHORT = 255
MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + MAX_ENVELOPE_BYTES
CHUNK_BYTES = 16_384  # what is read at once
LARGE_BYTES = 4096  # a frame from this size on is read where it stays
STEP_BYTES = 1 << 20  # and so much of it is believed before it is there
JOINED_BYTES = 16_384  # a body up to this is copied behind its envelope

_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_MECHANISM = slice(12, 32)
_NULL = b"NULL".ljust(20, b"\0")
_LONG = struct.Struct(">BQ")
_VALUE = struct.Struct(">I")
_PING, _PING_HEAD = b"\x04PING", 7  # then its context; the time to live concerns nobody here

GREETING = (_SIGNATURE + b"\x03\x01" + _NULL).ljust(64, b"\0")
GREETING_BYTES, VERSION_BYTES = len(GREETING), 12  # the whole, and what tells the version

Item: TypeAlias = tuple[int, Data, Data | None]
"""Flags and two frames, the second if there is one. COMMAND: the other side's library says it.
MORE: there were more frames, which are left out."""


def asks_for_keys(greeting: bytes) -> bool:
    """Whether the other side encrypts. Raises BadMessage where it does not speak ZMTP 3."""
    if greeting[:1] != b"\xff" or greeting[9:10] != b"\x7f" or greeting[10] < 3:
        raise BadMessage("whoever answers does not speak the protocol of ZeroMQ")
    return greeting[_MECHANISM] != _NULL


def head(size: int, flags: int = 0) -> bytes:
    """What stands before the bytes of a frame."""
    if size <= MAX_SHORT:
        return bytes((flags, size))
    return _LONG.pack(flags | LONG, size)


def parts(envelope: Data, *body: Data) -> list[Data]:
    """A message as it is sent: in one part, or in several where that saves copying the body.

    The pieces of the body are one frame; without any there is none.
    """
    if not body:
        return [head(len(envelope)) + envelope]
    size = len(body[0]) if len(body) == 1 else sum(map(len, body))
    if size > JOINED_BYTES:
        return [head(len(envelope), MORE) + envelope + head(size), *body]
    return [b"".join((head(len(envelope), MORE), envelope, head(size), *body))]


def after(parts: list[Data], size: int) -> list[Data]:
    """What is left of them when so many bytes were sent."""
    left: list[Data] = []
    for part in parts:
        if size < len(part):
            left.append(memoryview(part)[size:] if size > 0 else part)
        size -= len(part)
    return left


def command(body: bytes) -> bytes:
    """A frame for the other side's library, not for its program."""
    return head(len(body), COMMAND) + body


PING = command(_PING + bytes(2))


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + _VALUE.pack(len(value)) + value


def ready(kind: bytes) -> bytes:
    """The command with which a socket of this kind ends the handshake."""
    own = _property(b"Socket-Type", kind) + _property(b"Identity", b"")
    return command(b"\x05READY" + own)


def check_ready(item: Item, kind: bytes) -> None:
    """Raises BadMessage unless a socket of this kind says that it is ready."""
    flags, body, _ = item
    said = bytes(body) if flags & COMMAND else b""
    if not said.startswith(b"\x05READY") or _property(b"Socket-Type", kind) not in said:
        raise BadMessage("whoever answers is of another kind")


def answer(body: Data) -> bytes | None:
    """What is answered to a command, if anything: a ping asks whether this side still lives."""
    said = bytes(body)
    return command(b"\x04PONG" + said[_PING_HEAD:]) if said.startswith(_PING) else None


class Reader:
    """Makes messages of the bytes of a line.

    What was read is given to `feed`; while a frame is `large`, it is read into `room`, and `grow`
    told how much it was. Both return what is complete now. They raise EOFError when nothing was
    read, and BadMessage for a frame that is too large.
    """

    def __init__(self) -> None:
        self._rest = b""  # of what was read: less than a frame
        self._frames: list[Data] = []  # of a message that is not complete
        self.large: memoryview | None = None
        self._flags = self._size = self._have = 0  # of the large one

    def feed(self, data: bytes) -> list[Item]:
        if self._rest:
            data = self._rest + data if data else b""
        elif not self._frames and (end := _pair(data)):
            return [(0, data[SHORT_HEAD:end], data[end + SHORT_HEAD :])]
        if not data:
            raise EOFError
        found: list[Item] = []
        at = 0
        while len(data) >= at + SHORT_HEAD:
            flags, size, begin = data[at], data[at + 1], at + SHORT_HEAD
            if flags & LONG:
                begin = at + LONG_HEAD
                if begin > len(data):
                    break
                size = int.from_bytes(data[at + 1 : begin], "big")
            if begin + size > len(data):
                if size >= LARGE_BYTES:
                    self._open(flags, size, data[begin:])
                    at = len(data)
                break
            at = begin + size
            self._add(flags, data[begin:at], found)
        self._rest = data[at:]
        return found

    def _open(self, flags: int, size: int, begin: bytes) -> None:
        if size > MAX_FRAME_BYTES:
            raise BadMessage(
                "a frame of {size} bytes is over the limit of {max_frame_bytes}",
                size=size,
                max_frame_bytes=MAX_FRAME_BYTES,
            )
        self.large = _memory(min(size, max(STEP_BYTES, len(begin))))
        self.large[: len(begin)] = begin
        self._flags, self._size, self._have = flags, size, len(begin)

    def room(self) -> memoryview:
        """Where the next bytes of a large frame belong."""
        assert self.large is not None
        return self.large[self._have :]

    def grow(self, size: int) -> list[Item]:
        large = self.large
        assert large is not None
        if not size:
            raise EOFError
        self._have += size
        found: list[Item] = []
        if self._have == self._size:
            self.large = None
            self._add(self._flags, large, found)
        elif self._have == len(large):
            self.large = _memory(min(2 * len(large), self._size))
            self.large[: len(large)] = large
        return found

    def _add(self, flags: int, frame: Data, found: list[Item]) -> None:
        if flags & COMMAND:
            found.append((COMMAND, frame, None))
            return
        frames = self._frames
        if len(frames) < 3:
            frames.append(frame)
        if not flags & MORE:
            self._frames = []
            more = MORE if len(frames) > 2 else 0
            found.append((more, frames[0], frames[1] if len(frames) > 1 else None))


def _memory(size: int) -> memoryview:
    """Room for so many bytes; nobody has written zeros into it first."""
    return np.empty(size, np.uint8).data


def _pair(data: bytes) -> int:
    """Where the second frame begins if `data` is a message of two short ones, as most are; or 0."""
    if len(data) < 2 * SHORT_HEAD or data[0] != MORE:
        return 0
    second = SHORT_HEAD + data[1]
    if second + SHORT_HEAD > len(data) or data[second]:
        return 0
    return second if second + SHORT_HEAD + data[second + 1] == len(data) else 0
