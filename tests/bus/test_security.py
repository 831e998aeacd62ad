"""Only who has the right keys gets through, others hear why, and nobody can listen in."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import zmq

from rwkv_rag.bus.address import Address
from rwkv_rag.bus.keys import KeyStore
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.security import PeerSecurity, RouterSecurity, Security, require_keys
from rwkv_rag.bus.transport import Incoming
from rwkv_rag.bus.worker import Worker
from rwkv_rag.errors import InputError, NotAllowed, RagError, Unreachable

from .parties import ANY_PORT, QUICK, calling, echo, repeated, routing, said, working

MARKER = "MARKER-0123456789-MARKER"


@pytest.fixture
def ring(tmp_path: Path) -> KeyStore:
    ring = KeyStore(tmp_path)
    ring.add("laptop", tmp_path / "laptop.key")
    return ring


@pytest.fixture
def locked(tmp_path: Path, ring: KeyStore) -> RouterSecurity:
    return RouterSecurity.load(tmp_path)


@pytest.fixture
def laptop(tmp_path: Path, ring: KeyStore) -> PeerSecurity:
    return PeerSecurity.load(tmp_path / "laptop.key")


@pytest.fixture
def service(locked: RouterSecurity) -> Iterator[Router]:
    """A service whose both ends ask for keys, with a worker of its own."""
    with routing(security=locked) as router, working(router.back, security=locked.peer()):
        yield router


def keys_of(kind: str, right: PeerSecurity) -> PeerSecurity | None:
    public, secret = zmq.curve_keypair()
    return {
        "none": None,
        "unknown": replace(right, public=public, secret=secret),
        "wrong server": replace(right, server=public),
        "stolen public": replace(right, secret=secret),
    }[kind]


KINDS = ("none", "unknown", "wrong server", "stolen public")


def test_the_right_keys_get_through(service: Router, laptop: PeerSecurity) -> None:
    with calling(service.front, security=laptop) as client:
        assert next(client.request(said("hello"))) == {"text": "hello"}
        assert list(client.request(repeated("x", 100))) == ["x"] * 100


def test_a_worker_with_the_right_keys_serves(locked: RouterSecurity, laptop: PeerSecurity) -> None:
    with (
        routing(security=locked) as router,
        working(router.back, security=laptop),
        calling(router.front, security=laptop) as client,
    ):
        assert next(client.request(said("hello"))) == {"text": "hello"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_without_the_right_keys_hears_so_and_gets_nothing(
    service: Router, laptop: PeerSecurity, kind: str
) -> None:
    begun = time.monotonic()
    with (
        calling(service.front, security=keys_of(kind, laptop), connect_s=1.5) as client,
        pytest.raises((NotAllowed, Unreachable), match="rwkv-rag keys add") as caught,
    ):
        next(client.request(said("hello")))
    assert time.monotonic() - begun < 2.5 and "\n" not in str(caught.value)
    assert service.status().served == service.status().failed == 0


@pytest.mark.parametrize("kind", ["none", "unknown", "stolen public"])
def test_a_worker_without_the_right_keys_ends_and_is_given_nothing(
    locked: RouterSecurity, laptop: PeerSecurity, kind: str
) -> None:
    with routing(security=locked) as router:
        worker = Worker(echo, router.back, name="w", security=keys_of(kind, laptop), **QUICK)
        with pytest.raises(NotAllowed, match="rwkv-rag keys add"):
            worker.run()
        assert router.status().workers == ()


def test_a_key_that_was_taken_away_opens_no_connection(
    service: Router, ring: KeyStore, laptop: PeerSecurity
) -> None:
    ring.remove("laptop")
    with (
        calling(service.front, security=laptop) as client,
        pytest.raises(NotAllowed, match="does not accept the keys"),
    ):
        next(client.request(said("hello")))


def test_a_client_whose_key_is_taken_away_is_shut_out_of_what_it_began(
    service: Router, ring: KeyStore, laptop: PeerSecurity
) -> None:
    with calling(service.front, security=laptop) as client:
        stream = client.request(repeated("x", 10_000))
        assert next(stream) == "x"
        ring.remove("laptop")
        begun = time.monotonic()
        with pytest.raises(NotAllowed, match="not accepted any more"):
            while True:
                next(stream)
                time.sleep(0.001)
        assert time.monotonic() - begun < 2
        with pytest.raises(NotAllowed, match="rwkv-rag keys add"):
            next(client.request(said("hello")))
    assert service.status().in_flight == 0


def test_a_worker_whose_key_is_taken_away_ends_and_its_work_goes_to_another(
    locked: RouterSecurity, ring: KeyStore, laptop: PeerSecurity
) -> None:
    began = threading.Event()

    def never(incoming: Incoming) -> str:
        began.set()
        while not incoming.cancelled():
            time.sleep(0.005)
        return "too late"

    def asked() -> list[object]:
        return list(client.request(said("hello", repeatable=True)))

    with (
        routing(security=locked, dead_s=5.0) as router,
        calling(router.front, security=locked.peer()) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        worker = Worker(never, router.back, name="w", security=laptop, **QUICK)
        ended = pool.submit(worker.run)
        answer = pool.submit(asked)
        assert began.wait(10)
        ring.remove("laptop")
        with pytest.raises(NotAllowed, match="not accepted any more"):
            ended.result(3)
        with working(router.back, security=locked.peer()):
            assert answer.result(3) == [{"text": "hello"}]


def test_a_key_that_is_made_while_the_router_runs_is_good_at_once(
    service: Router, ring: KeyStore, tmp_path: Path
) -> None:
    ring.add("desk", tmp_path / "desk.key")
    with calling(service.front, security=PeerSecurity.load(tmp_path / "desk.key")) as client:
        assert next(client.request(said("hello"))) == {"text": "hello"}


@pytest.mark.parametrize("url", ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://192.0.2.1:7781"])
def test_nothing_reaches_beyond_this_machine_without_keys(url: str) -> None:
    with pytest.raises(InputError, match="rwkv-rag keys"):
        Router("echo", ANY_PORT, url)
    with pytest.raises(InputError, match="rwkv-rag keys"):
        Router("echo", url, ANY_PORT)
    with pytest.raises(InputError, match="rwkv-rag keys"):
        Worker(echo, url, name="w").run()
    with pytest.raises(InputError, match="rwkv-rag keys"), calling(url) as client:
        client.request(said("hello"))


def test_with_keys_a_router_may_be_open(locked: RouterSecurity, laptop: PeerSecurity) -> None:
    require_keys(Address.parse("tcp://0.0.0.0:1"), locked)
    with routing(front="tcp://0.0.0.0:0", back="tcp://0.0.0.0:0", security=locked) as router:
        back, front = (each.replace("0.0.0.0", "127.0.0.1") for each in (router.back, router.front))
        with working(back, security=locked.peer()), calling(front, security=laptop) as client:
            assert next(client.request(said("hello"))) == {"text": "hello"}


def test_an_own_program_without_curve_gets_no_word_from_the_router(service: Router) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(service.front)
        dealer.send(b"hello")
        assert dealer.poll(500) == 0
    host = Address.parse(service.front)
    with socket.create_connection((host.host, host.port), timeout=5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        plain.settimeout(1)
        answer = b""
        with suppress(OSError):
            while more := plain.recv(4096):
                answer += more
    assert len(answer) <= 64  # its greeting says which protocol it is, and no more


def test_sockets_whose_guard_is_gone_refuse_everybody(
    locked: RouterSecurity, laptop: PeerSecurity
) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        locked.apply(router)
        port = router.bind_to_random_port("tcp://127.0.0.1")
        with (
            calling(f"tcp://127.0.0.1:{port}", security=laptop, connect_s=0.5) as client,
            pytest.raises(RagError),
        ):
            next(client.request(said("hello")))
        assert router.poll(0) == 0


@pytest.mark.parametrize("end", ["front", "back"])
@pytest.mark.parametrize("security", ["curve", "none"])
def test_a_captured_connection_shows_nothing_of_what_is_said(
    locked: RouterSecurity, laptop: PeerSecurity, end: str, security: str
) -> None:
    """Without CURVE the marker is seen, so that this test is known to look at the right place."""
    keys = security == "curve"
    peer: Security | None = laptop if keys else None
    with routing(security=locked if keys else None) as router, tapped(getattr(router, end)) as tap:
        front, back = (
            tap.url if end == each else getattr(router, each) for each in ("front", "back")
        )
        with working(back, security=peer), calling(front, security=peer) as client:
            assert next(client.request(said(MARKER))) == {"text": MARKER}
            assert list(client.request(repeated(MARKER, 3))) == [MARKER] * 3
    captured = b"".join(tap.captured)
    assert len(captured) > 500
    assert (MARKER.encode() in captured) is not keys


class Tap:
    """A relay that remembers all that passes."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.captured: list[bytes] = []
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pump, args=pair, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.captured.append(data)
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for each in (self._listener, *self._open):
            each.close()


@contextmanager
def tapped(url: str) -> Iterator[Tap]:
    address = Address.parse(url)
    tap = Tap((address.host, address.port))
    try:
        yield tap
    finally:
        tap.close()
