"""A router's plain sockets: with peers of libzmq, and with peers that behave as none of it does."""

from __future__ import annotations

import os
import resource
import socket as sockets
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import zmq

from rwkv_rag.bus import plain, zmtp
from rwkv_rag.bus.dispatch import Full, Gone
from rwkv_rag.bus.plain import PlainPort
from rwkv_rag.errors import BadMessage, Busy, InputError

SOON_S = 5.0
ANY = "tcp://127.0.0.1:0"
HANDSHAKE = zmtp.GREETING + zmtp.ready(b"DEALER")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for the path of a socket."""
    with TemporaryDirectory(prefix="rr") as name:
        yield Path(name)


@contextmanager
def bound(front: str = ANY, back: str = ANY, silence_s: float = 60.0) -> Iterator[PlainPort]:
    with closing(PlainPort(front, back, silence_s=silence_s)) as port:
        port.wait(0.02)
        yield port


@contextmanager
def dealing(url: str, **options: Any) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.rcvtimeo = dealer.sndtimeo = int(SOON_S * 1000)
        for name, value in options.items():
            setattr(dealer, name, value)
        dealer.connect(url)
        yield dealer


def connected(port: PlainPort, url: str) -> sockets.socket:
    """A peer by hand, after its handshake."""
    peers, known = port._peers, {*port._known}
    host, _, number = url.removeprefix("tcp://").rpartition(":")
    peer = sockets.create_connection((host, int(number)), SOON_S)
    peer.sendall(HANDSHAKE)
    until(port, lambda: any(each.ready and each.identity not in known for each in peers.values()))
    took = zmtp.GREETING_BYTES + len(zmtp.ready(b"ROUTER"))
    assert len(peer.recv(took, sockets.MSG_WAITALL)) == took
    return peer


def heard(port: PlainPort) -> Any:
    limit = time.monotonic() + SOON_S
    while time.monotonic() < limit:
        if (received := port.receive()) is not None:
            return received
    raise AssertionError("nothing came")


def until(port: PlainPort, condition: Callable[[], Any]) -> None:
    limit = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        assert port.receive() is None


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_messages_of_any_size_go_both_ways(folder: Path, scheme: str) -> None:
    places = [f"ipc://{folder}/{end}" for end in "fb"] if scheme == "ipc" else [ANY, ANY]
    with bound(*places) as port, dealing(port.front) as dealer:
        for size in (0, 1, 255, 256, 5000, 20_000, 3_000_000):
            dealer.send_multipart([b"envelope", bytes(size)])
            identity, envelope, body = heard(port)
            assert (bytes(envelope), bytes(body)) == (b"envelope", bytes(size))
            port.send(identity, envelope, body)
            until(port, lambda: not port._known[identity].waiting)  # noqa: B023
            assert dealer.recv_multipart() == [b"envelope", bytes(size)]
        dealer.send(b"alone")
        assert heard(port) == (identity, b"alone", None)
        port.send(identity, b"alone")
        assert dealer.recv_multipart() == [b"alone"]


def test_who_came_in_at_the_back_door_is_known() -> None:
    with bound() as port, dealing(port.front) as client, dealing(port.back) as worker:
        for peer, back in ((client, False), (worker, True)):
            peer.send(b"hello")
            identity, envelope, _ = heard(port)
            assert port.from_back(identity, envelope) is back
        assert not port.from_back(b"nobody", b"")


def test_a_message_of_too_many_frames_is_refused_and_the_next_is_not() -> None:
    with bound() as port, dealing(port.front) as dealer:
        dealer.send_multipart([b"a", b"b", b"c"])
        dealer.send_multipart([b"d", b"e"])
        with pytest.raises(BadMessage, match="too many frames"):
            heard(port)
        assert heard(port)[1:] == (b"d", b"e")


def test_the_silent_are_asked_for_a_sign_of_life_and_then_given_up() -> None:
    with bound() as port, dealing(port.front) as alive, connected(port, port.back) as dead:
        alive.send(b"hello")
        identity, *_ = heard(port)
        (silent,) = {*port._known} - {identity}
        assert not port.cut()
        now = time.monotonic()
        for turn in range(1, 20):
            port.keep(now + 60 * turn)
            limit = time.monotonic() + 0.05
            while time.monotonic() < limit:
                assert port.receive() is None
        assert port.cut() and not port.cut()
        asked = dead.recv(4096)
        assert asked and not asked.replace(zmtp.PING, b"") and dead.recv(1) == b""
        with pytest.raises(Gone):
            port.send(silent, b"there?")
        port.send(identity, b"there?")
        assert alive.recv() == b"there?"


def test_looks_have_the_time_between_them_that_silence_allows() -> None:
    with bound(silence_s=4.0) as port, connected(port, port.front):
        now = time.monotonic()
        for tick in range(40):
            port.keep(now + tick / 10)
        (peer,) = port._peers.values()
        assert peer.silent == 4


def test_a_handshake_that_does_not_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "HANDSHAKE_S", 0.1)
    with bound(silence_s=0.2) as port:
        host, _, number = port.front.removeprefix("tcp://").rpartition(":")
        with sockets.create_connection((host, int(number)), SOON_S) as peer:
            for byte in HANDSHAKE[:70]:
                try:
                    peer.sendall(bytes([byte]))
                except OSError:
                    break
                port.receive()
                port.keep(time.monotonic())
            until(port, lambda: port.keep(time.monotonic()) or not port._peers)


@pytest.mark.parametrize(
    "bytes_",
    [
        zmtp.GREETING.replace(b"NULL\0", b"CURVE"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n".ljust(70),
        zmtp.GREETING + zmtp.ready(b"PUSH"),
        zmtp.GREETING + b"".join(zmtp.parts(b"too", b"soon")),
        HANDSHAKE + zmtp.head(1 << 50),
    ],
)
def test_who_speaks_otherwise_is_cut_off_and_nobody_else(bytes_: bytes) -> None:
    with bound() as port, dealing(port.front) as other:
        other.send(b"hello")
        identity, *_ = heard(port)
        host, _, number = port.front.removeprefix("tcp://").rpartition(":")
        with sockets.create_connection((host, int(number)), SOON_S) as peer:
            peer.sendall(bytes_)
            until(port, port.cut)
            assert [*port._known] == [identity]
            peer.settimeout(SOON_S)
            with suppress(ConnectionResetError):
                while peer.recv(4096):
                    pass


def test_a_peer_that_reads_nothing_is_full_holds_up_nobody_and_misses_nothing() -> None:
    with bound() as port, connected(port, port.front) as slow, dealing(port.front) as other:
        (identity,) = port._known
        told = 0
        with pytest.raises(Full):
            for told in range(100_000):
                port.send(identity, told.to_bytes(4, "big"), bytes(20_000))
        other.send(b"hello")
        port.send(heard(port)[0], b"hello")
        assert other.recv() == b"hello"
        reader, came = zmtp.Reader(), []
        slow.setblocking(False)
        limit = time.monotonic() + SOON_S
        while len(came) < told:
            assert time.monotonic() < limit
            port.receive()
            try:
                while True:
                    if reader.large:
                        came += reader.grow(slow.recv_into(reader.room()))
                    else:
                        came += reader.feed(slow.recv(4096))
            except BlockingIOError:
                pass
        assert [int.from_bytes(envelope, "big") for _, envelope, _ in came] == [*range(told)]
        port.send(identity, b"again")


def test_a_peer_that_is_gone_is_gone_at_once() -> None:
    with bound() as port, connected(port, port.front) as peer:
        (identity,) = port._known
        peer.close()
        until(port, port.cut)
        with pytest.raises(Gone):
            port.send(identity, b"x")


def test_a_router_without_files_left_accepts_again_when_there_are() -> None:
    with bound() as port:
        host, _, number = port.front.removeprefix("tcp://").rpartition(":")
        with sockets.socket() as peer:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                peer.connect((host, int(number)))
                for _ in range(20):
                    assert port.receive() is None
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert not port._peers
            port.keep(time.monotonic())
            until(port, lambda: port._peers)


def test_what_a_killed_router_left_is_no_hindrance_and_one_at_work_is(folder: Path) -> None:
    front, back = f"ipc://{folder}/f", f"ipc://{folder}/b"
    with sockets.socket(sockets.AF_UNIX) as left:
        left.bind(f"{folder}/f")
    with bound(front, back), pytest.raises(Busy, match="in use"):
        PlainPort(front, ANY, silence_s=1.0)
    assert not [*folder.iterdir()]


def test_a_file_that_is_no_socket_is_not_touched(folder: Path) -> None:
    (folder / "f").write_text("mine")
    with pytest.raises(Busy):
        PlainPort(f"ipc://{folder}/f", ANY, silence_s=1.0)
    assert (folder / "f").read_text() == "mine"


def test_an_address_that_cannot_be_bound_leaves_nothing_open(folder: Path) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        PlainPort(f"ipc://{folder}/f", f"ipc://{folder}/missing/b", silence_s=1.0)
    assert not [*folder.iterdir()]


def test_what_needs_the_library_does_not_fit() -> None:
    assert PlainPort.fits(ANY, "ipc:///tmp/x")
    assert not PlainPort.fits(ANY, "inproc://x")
