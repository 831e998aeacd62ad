"""A line without libzmq's thread, to libzmq's own ROUTER and to sockets that do what none does."""

from __future__ import annotations

import socket as sockets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import zmq

from rwkv_rag.bus import message, zmtp
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import Connection, Lost
from rwkv_rag.bus.direct import Direct, connect
from rwkv_rag.bus.message import pack
from rwkv_rag.errors import BadMessage

SOON_S = 5.0
PING = pack(message.Ping(7))


def line(url: str, **changes: Any) -> Direct:
    given = {"decode": message.to_worker.decode, "receive_s": 0.2, "send_s": 1.0, **changes}
    return Direct(Address.parse(url), **given)


@contextmanager
def routed(scheme: str = "tcp", **options: Any) -> Iterator[tuple[zmq.Socket[bytes], Direct]]:
    """A ROUTER of libzmq, and a line to it."""
    with (
        TemporaryDirectory(prefix="rr") as folder,
        zmq.Context() as context,
        context.socket(zmq.ROUTER) as router,
    ):
        router.linger = 0
        router.rcvtimeo = router.sndtimeo = int(SOON_S * 1000)
        for name, value in options.items():
            setattr(router, name, value)
        url = f"ipc://{folder}/r"
        if scheme == "tcp":
            url = f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"
        else:
            router.bind(url)
        with closing(line(url)) as direct:
            direct.ready(time.monotonic() + SOON_S)
            yield router, direct


@contextmanager
def accepted(**changes: Any) -> Iterator[tuple[sockets.socket, Direct]]:
    """The other end of a line by hand, after the handshake."""
    with sockets.create_server(("127.0.0.1", 0)) as server:
        direct = line(f"tcp://127.0.0.1:{server.getsockname()[1]}", **changes)
        ready = threading.Thread(target=direct.ready, args=(time.monotonic() + SOON_S,))
        ready.start()
        other, _ = server.accept()
        with other, closing(direct):
            other.sendall(zmtp.GREETING + zmtp.ready(b"ROUTER"))
            ready.join(SOON_S)
            took = zmtp.GREETING_BYTES + len(zmtp.ready(b"DEALER"))
            assert len(other.recv(took, sockets.MSG_WAITALL)) == took
            yield other, direct


def heard(direct: Direct) -> Any:
    until = time.monotonic() + SOON_S
    while time.monotonic() < until:
        if (received := direct.receive()) is not None:
            return received
    raise AssertionError("nothing came")


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_messages_of_any_size_go_both_ways(scheme: str) -> None:
    with routed(scheme) as (router, direct):
        for size in (0, 1, 255, 256, 5000, 20_000, 3_000_000):
            body = bytes(size)
            direct.send(PING, body[: size // 3], body[size // 3 :])
            identity, *frames = router.recv_multipart()
            assert frames == [PING, body]
            router.send_multipart([identity, PING, body])
            assert heard(direct) == (message.Ping(7), body)
        direct.send(PING)
        assert router.recv_multipart() == [identity, PING]
        router.send_multipart([identity, PING])
        assert heard(direct) == (message.Ping(7), b"")


def test_many_messages_at_once_come_in_order() -> None:
    with routed(sndhwm=0) as (router, direct):
        direct.send(PING)
        identity, _ = router.recv_multipart()
        for number in range(2000):
            router.send_multipart([identity, pack(message.Cancel(number))])
        assert [heard(direct)[0].id for _ in range(2000)] == list(range(2000))


@pytest.mark.parametrize("way", ["receive", "keep"])
def test_a_line_lives_while_it_is_read_or_kept(way: str) -> None:
    with routed(heartbeat_ivl=100, heartbeat_timeout=300) as (router, direct):
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            if way == "receive":
                assert direct.receive() is None
            else:
                direct.keep()
                time.sleep(0.05)
        assert direct.alive()
        direct.send(PING)
        assert router.recv_multipart()[1:] == [PING]


def test_a_line_that_nobody_looks_after_is_cut_and_that_shows() -> None:
    with routed(heartbeat_ivl=100, heartbeat_timeout=300) as (_, direct):
        time.sleep(1.2)
        assert not direct.alive()
        with pytest.raises(Lost):
            direct.send(PING)
        with pytest.raises(Lost):
            direct.receive()


def test_what_comes_while_a_line_is_kept_is_there_later_and_pings_are_not() -> None:
    with accepted() as (other, direct):
        for number in (0, 1, 0, 2):
            said = message.Cancel(number) if number else message.Ping()
            other.sendall(b"".join(zmtp.parts(pack(said))))
        until = time.monotonic() + SOON_S
        while len(direct._kept) < 2:
            assert time.monotonic() < until
            direct.keep()
        assert [heard(direct)[0].id for _ in range(2)] == [1, 2]
        assert direct.receive() is None


def test_pings_of_the_library_do_not_lengthen_a_wait() -> None:
    with routed(heartbeat_ivl=100, heartbeat_timeout=5000) as (_, direct):
        begun = time.monotonic()
        assert direct.within(1.0) is None
        assert time.monotonic() - begun < 1.5


def test_nothing_comes_within_the_limit_that_is_given() -> None:
    with routed() as (_, direct):
        begun = time.monotonic()
        assert direct.within(0.05) is None
        assert 0.04 < time.monotonic() - begun < 0.19
        assert direct.receive() is None
        assert time.monotonic() - begun > 0.2


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_message_that_breaks_off_ends_the_line(size: int) -> None:
    with accepted() as (other, direct):
        whole = b"".join(zmtp.parts(PING, bytes(size)))
        other.sendall(whole + whole[: len(whole) // 2])
        other.shutdown(sockets.SHUT_WR)
        assert heard(direct) == (message.Ping(7), bytes(size))
        with pytest.raises(Lost):
            direct.receive()
        with pytest.raises(Lost):
            direct.send(PING)


def test_a_frame_that_is_too_large_ends_the_line() -> None:
    with accepted() as (other, direct):
        other.sendall(zmtp.head(1 << 40))
        with pytest.raises(Lost):
            heard(direct)


def test_an_unreadable_message_does_not_end_the_line() -> None:
    with accepted() as (other, direct):
        other.sendall(b"".join(zmtp.parts(b"\xc1") + zmtp.parts(PING)))
        with pytest.raises(BadMessage):
            heard(direct)
        assert heard(direct)[0] == message.Ping(7)


def test_a_router_that_takes_nothing_is_not_waited_for_without_end() -> None:
    with accepted(send_s=0.3) as (_, direct):
        begun = time.monotonic()
        with pytest.raises(Lost):
            for _ in range(100):
                direct.send(PING, bytes(1 << 20))
        assert time.monotonic() - begun < 3
        with pytest.raises(Lost):
            direct.send(PING, wait=False)


def test_who_waits_is_woken() -> None:
    with accepted(receive_s=60.0) as (_, direct):
        woken = threading.Timer(0.1, direct.wake)
        woken.start()
        begun = time.monotonic()
        with pytest.raises(Lost):
            direct.receive()
        assert time.monotonic() - begun < SOON_S
        woken.join()


def test_who_connects_is_woken() -> None:
    with sockets.create_server(("127.0.0.1", 0)) as silent:
        direct = line(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
        waking = threading.Thread(target=lambda: (silent.accept()[0].close(), direct.wake()))
        waking.start()
        begun = time.monotonic()
        with pytest.raises(Lost):
            direct.ready(begun + 60)
        assert time.monotonic() - begun < SOON_S
        waking.join()


def test_another_kind_of_socket_is_not_taken_for_a_router() -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        port = dealer.bind_to_random_port("tcp://127.0.0.1")
        direct = line(f"tcp://127.0.0.1:{port}")
        with closing(direct), pytest.raises(Lost):
            direct.ready(time.monotonic() + 0.3)


def test_only_a_plain_line_goes_without_the_library() -> None:
    limits = {"receive_s": 1.0, "send_s": 1.0, "silence_s": 1.0}
    with zmq.Context() as context:
        for url, kind in (
            ("tcp://127.0.0.1:9", Direct),
            ("ipc:///tmp/nobody", Direct),
            ("inproc://here", Connection),
        ):
            decode = message.to_client.decode
            with closing(connect(context, url, security=None, decode=decode, **limits)) as made:
                assert type(made) is kind
