"""The wire protocol of ZeroMQ, as far as a peer of a ROUTER needs it: ZMTP 3.1 without encryption.

greeting ─▶ READY ─▶ frames: flags, size, bytes      https://rfc.zeromq.org/spec/37

Knows no socket and no meaning of messages.
"""

from __future__ import annotations

import struct

from rwkv_rag.errors import BadMessage

GREETING_BYTES, VERSION_BYTES = 64, 12  # the whole of it, and what tells the version
MORE, LONG, COMMAND = 1, 2, 4  # flags of a frame
SHORT_HEAD, LONG_HEAD = 2, 9  # bytes of flags and size
MAX_SHORT = 255

_SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
_VERSION = b"\x03\x01"
_MECHANISM = slice(12, 32)
_NULL = b"NULL".ljust(20, b"\0")
_LONG = struct.Struct(">BQ")
_VALUE = struct.Struct(">I")
_PING, _PING_HEAD = b"\x04PING", 7  # then its context; the time to live concerns nobody here

GREETING = (_SIGNATURE + _VERSION + _NULL).ljust(GREETING_BYTES, b"\0")


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


def pair(data: bytes) -> int:
    """Where the second frame begins if `data` is a message of two short ones, as most are; or 0."""
    if len(data) < 4 or data[0] != MORE:
        return 0
    second = SHORT_HEAD + data[1]
    if second + 2 > len(data) or data[second] or second + 2 + data[second + 1] != len(data):
        return 0
    return second


def command(body: bytes) -> bytes:
    """A frame for the other side's library, not for its program."""
    return head(len(body), COMMAND) + body


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + _VALUE.pack(len(value)) + value


READY = command(b"\x05READY" + _property(b"Socket-Type", b"DEALER") + _property(b"Identity", b""))


def check_ready(body: bytes) -> None:
    """Raises BadMessage unless the command says that a ROUTER takes part."""
    if not body.startswith(b"\x05READY") or _property(b"Socket-Type", b"ROUTER") not in body:
        raise BadMessage("whoever answers is no router")


def answer(body: bytes) -> bytes | None:
    """What is answered to a command, if anything: a ping asks whether this side still lives."""
    if not body.startswith(_PING):
        return None
    return command(b"\x04PONG" + body[_PING_HEAD:])
