"""A hundred thousand frames of garbage: the router lives, keeps nothing, and answers all the rest.

Strangers throw it at a router without keys, at the sockets of one with keys, and as a peer whose
keys are right, which then is heard by the router itself.
"""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import zmq

from rwkv_rag.bus import message
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.keys import KeyStore
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.bus.security import PeerSecurity, RouterSecurity
from rwkv_rag.bus.transport import Call, Incoming
from rwkv_rag.errors import Message

from .parties import calling, working

FRAMES = 100_000
GROWTH_BYTES = 24 << 20
ROUTER = """
import sys
from pathlib import Path
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.security import RouterSecurity
security = RouterSecurity.load(Path(sys.argv[1])) if sys.argv[1:] else None
door = "tcp://127.0.0.1:0"
router = Router("echo", door, door, security=security, beat_s=0.1)
print(router.front, router.back, flush=True)
router.run()
"""
REQUEST = message.Request(7, SCHEMA, 1, 5.0, False, True, "echo", "say", {})
ENVELOPES = [
    message.Hello(),
    message.Hello(99),
    message.Heartbeat(SCHEMA, b"token", "w", 1, False, {"pid": 1}),
    message.Heartbeat(99, b"token", "w", 1, True, {}),
    REQUEST,
    message.Credit(7, 5),
    message.Cancel(7),
    message.Ping(7),
    message.StatusRequest(7),
    message.Opened(7),
    message.Reply(7, True),
    message.End(7),
    message.Fault(7, "input", Message("no")),
    message.Welcome(SCHEMA, "r", "s", {}),
    message.Goodbye(),
]
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
PROPERTY = b"\x0bSocket-Type" + bytes([0, 0, 0, 6]) + b"DEALER"
READY = bytes([4, 6 + len(PROPERTY)]) + b"\x05READY" + PROPERTY  # a command of ZMTP 3

BEGINNINGS = (
    b"",
    GREETING,
    GREETING.replace(b"CURVE", b"NULL\0"),
    GREETING[:20],
    GREETING.replace(b"CURVE", b"NULL\0") + READY,  # a correct handshake
)


@dataclass
class Place:
    """A router in a process of its own."""

    front: str
    back: str
    process: psutil.Process
    log: Path

    @property
    def memory_bytes(self) -> int:
        return int(self.process.memory_info().rss)


@contextmanager
def router(tmp_path: Path, home: Path | None) -> Iterator[Place]:
    log = tmp_path / "router.log"
    command = [sys.executable, "-c", ROUTER, *([str(home)] if home else [])]
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            front, back = process.stdout.readline().split()
            yield Place(front, back, psutil.Process(process.pid), log)
            assert process.poll() is None
        finally:
            process.kill()


def damaged(dice: random.Random) -> list[bytes]:
    """A message that may have been one: cut, changed, doubled, with too few frames or too many."""
    envelope = bytearray(pack(dice.choice(ENVELOPES)))
    for _ in range(dice.choice((0, 1, 1, 3))):
        envelope[dice.randrange(len(envelope))] = dice.randrange(256)
    if dice.random() < 0.2:
        del envelope[dice.randrange(len(envelope)) :]
    body = dice.randbytes(dice.choice((0, 1, 10, 300)))
    return [bytes(envelope), body, body, body][: dice.choice((1, 1, 2, 2, 2, 4))]


def invented(dice: random.Random) -> list[bytes]:
    """Bytes at random, msgpack of another kind, and nesting without end."""
    value: Any = dice.choice(([], {}, None, "x" * 30_000, [99], [2], [2, -1], [4, 2**63], [8, "a"]))
    kinds = (dice.randbytes(dice.randrange(40)), msgspec.msgpack.encode(value), b"\x91" * 5000, b"")
    return [dice.choice(kinds) for _ in range(dice.choice((1, 1, 2, 5)))]


def garbage(seed: int) -> Iterator[list[bytes]]:
    """Messages without end. None is a whole Join: that makes a worker of whoever may come in."""
    dice = random.Random(seed)
    pool = [make(dice) for _ in range(1000) for make in (damaged, invented)]
    pool = [frames for frames in pool if not joins(frames[0])]
    while True:
        yield dice.choice(pool)


def joins(envelope: bytes) -> bool:
    try:
        return isinstance(message.from_worker.decode(envelope), message.Join)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False


def throw(url: str, security: PeerSecurity | None, frames: int, seed: int) -> None:
    """Send so many frames of garbage and wait until the router has seen them all."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        if security:
            security.apply(dealer)
        dealer.connect(url)
        for message_frames in garbage(seed):
            dealer.send_multipart(message_frames)
            frames -= len(message_frames)
            if frames <= 0:
                break
        answered(dealer)


def answered(dealer: zmq.Socket[bytes]) -> None:
    """Read on until the router answers. A peer that reads nothing may not get it at first."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        dealer.send(pack(message.Hello()))  # a client's; a worker's of another version:
        dealer.send(pack(message.Join(99, b"token", "w", 1)))
        while dealer.poll(200):
            reply = decoded(dealer.recv_multipart()[0])
            if isinstance(reply, (message.Welcome, message.Fault)) and not dealer.poll(0):
                return
    raise AssertionError("the router answers nobody any more")


def decoded(envelope: bytes) -> Any:
    try:
        return message.to_client.decode(envelope)
    except msgspec.ValidationError:
        return message.to_worker.decode(envelope)


def throw_bytes(url: str, frames: int, seed: int) -> None:
    """Garbage without any keys, by hand, since no library would send it."""
    dice, address = random.Random(seed), Address.parse(url)
    each = 500
    for number in range(frames // each):
        begin = BEGINNINGS[number % len(BEGINNINGS)]
        sizes = [dice.randrange(1, 60) for _ in range(each)]
        data = b"".join(bytes([dice.randrange(8), size]) + dice.randbytes(size) for size in sizes)
        with suppress(OSError), socket.create_connection((address.host, address.port), 5) as plain:
            plain.sendall(begin + data)


class Asking:
    """An honest client that asks all the while, and counts what it is answered."""

    def __init__(self, front: str, security: PeerSecurity | None) -> None:
        self._front, self._security = front, security
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.worked: Counter[int] = Counter()  # how often a handler was asked, by number
        self.answered: list[int] = []
        self.failed: list[Exception] = []

    def handler(self, incoming: Incoming) -> int:
        given = incoming.arguments(dict)
        number = int(given["number"])
        self.worked[number] += 1
        return number

    def _run(self) -> None:
        with calling(self._front, security=self._security) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                call = Call("echo", "count", {"number": number}, returns=int, deadline_s=20)
                try:
                    self.answered += [*client.request(call)]
                except Exception as error:
                    self.failed.append(error)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    KeyStore(tmp_path / "home").make()
    return tmp_path / "home"


@pytest.mark.parametrize(
    "peer",
    ["without keys anywhere", "without keys, by hand", "with the right keys", "a stranger"],
)
def test_garbage_harms_nobody(tmp_path: Path, home: Path, peer: str) -> None:
    security = None if "without keys" in peer else RouterSecurity.load(home).peer()

    def thrown(url: str, frames: int, seed: int) -> None:
        if peer in ("a stranger", "without keys, by hand"):
            throw_bytes(url, frames, seed)
        else:
            throw(url, security, frames, seed)

    with router(tmp_path, home if security else None) as place:
        asking = Asking(place.front, security)
        with working(place.back, asking.handler, security=security, slots=4):
            with asking:
                for door in (place.front, place.back):
                    thrown(door, FRAMES // 10, 1)  # pools and buffers get their size
                before = place.memory_bytes
                for seed, door in enumerate((place.front, place.back), 2):
                    thrown(door, FRAMES // 2, seed)
            assert place.memory_bytes - before < GROWTH_BYTES
            with calling(place.front, security=security) as client:
                last = Call("echo", "count", {"number": 0}, returns=int)
                assert list(client.request(last)) == [0]
                assert client.status().in_flight == 0
    assert asking.failed == [] and len(asking.answered) > 5
    assert asking.answered == list(range(1, len(asking.answered) + 1))
    assert set(asking.worked.values()) == {1}
    assert "Traceback" not in place.log.read_text()
