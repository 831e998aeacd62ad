"""A router on real sockets: where it binds, who may come in where, and that it goes on."""

from __future__ import annotations

import socket as sockets
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from rwkv_rag.bus import message
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.transport import Incoming, Priority
from rwkv_rag.errors import Busy, DeadlineExceeded, InputError

from .parties import ANY_PORT, calling, routing, said, working

SOON_S = 5.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short enough for the path of a socket."""
    with tempfile.TemporaryDirectory(prefix="rr") as name:
        yield Path(name)


def test_a_port_in_use_is_named(folder: Path) -> None:
    with routing() as router:
        for place in (router.front, router.back):
            with pytest.raises(Busy, match=f"{place} is in use"):
                Router("other", ANY_PORT, place)


def test_an_address_that_cannot_be_is_an_error_of_the_user(folder: Path) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        Router("s", f"ipc://{folder}/missing/front", ANY_PORT)


def test_an_ipc_socket_in_use_is_refused_and_one_left_by_a_killed_router_is_not(
    folder: Path,
) -> None:
    front, back = f"ipc://{folder}/f", f"ipc://{folder}/b"
    with sockets.socket(sockets.AF_UNIX) as left:
        left.bind(f"{folder}/f")
    with routing(front=front, back=back) as router, working(router.back):
        with pytest.raises(Busy, match="in use"):
            Router("other", front, ANY_PORT)
        with calling(router.front) as client:
            assert next(client.request(said("hello"))) == {"text": "hello"}


def test_a_file_that_is_no_socket_is_not_touched(folder: Path) -> None:
    (folder / "f").write_text("mine")
    with pytest.raises(Busy):
        Router("s", f"ipc://{folder}/f", ANY_PORT)
    assert (folder / "f").read_text() == "mine"


def test_a_router_that_was_stopped_gives_its_addresses_back(folder: Path) -> None:
    with routing(front=f"ipc://{folder}/f") as router:
        places = {"front": router.front, "back": router.back}
    threads = threading.active_count()
    with routing(**places) as router, working(router.back), calling(router.front) as client:
        assert next(client.request(said("hello"))) == {"text": "hello"}
    assert threading.active_count() == threads


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_nobody_becomes_a_worker_at_the_front_door(folder: Path, scheme: str) -> None:
    places = {"front": f"ipc://{folder}/f", "back": f"ipc://{folder}/b"} if scheme == "ipc" else {}
    with routing(**places) as router, zmq.Context() as context:
        for place, workers in ((router.front, 0), (router.back, 1)):
            with context.socket(zmq.DEALER) as intruder:
                intruder.linger = 0
                intruder.connect(place)
                intruder.send(pack(message.Heartbeat(SCHEMA, b"t", "w", 1, False, {})))
                intruder.send(pack(message.Join(SCHEMA, b"t", "w", 1)))
                intruder.send(pack(message.Hello()))
                assert intruder.poll(5000)
                assert len(router.status().workers) == workers


def test_the_directory_reaches_clients() -> None:
    services = {"llm": "tcp://127.0.0.1:7781", "index": "ipc:///run/index"}
    with routing(directory=services) as router, calling(router.front) as client:
        assert client.directory == services


def test_requests_wait_for_a_worker_that_comes_later() -> None:
    with routing() as router, calling(router.front) as client:
        waiting = threading.Timer(0.0, lambda: replies.append(next(client.request(said("x")))))
        replies: list[Any] = []
        waiting.start()
        until = time.monotonic() + SOON_S
        while router.status().waiting["normal"] == 0:
            assert time.monotonic() < until
            time.sleep(0.01)
        with working(router.back):
            waiting.join(SOON_S)
        assert replies == [{"text": "x"}]


def test_a_request_that_no_worker_takes_in_time_says_so() -> None:
    with routing() as router, calling(router.front) as client:
        with pytest.raises(DeadlineExceeded, match=r"no worker of echo was there for 0\.2 s"):
            client.request(said("x", deadline_s=0.2))
        assert router.status().waiting["normal"] == 0


def test_a_full_queue_refuses_at_once_and_other_priorities_still_pass() -> None:
    release = threading.Event()

    def patient(incoming: Incoming) -> Any:
        release.wait(SOON_S)
        return incoming.arguments(dict)

    with (
        routing(backlog=1) as router,
        working(router.back, patient, slots=1),
        calling(router.front) as client,
    ):
        answers: list[Any] = []

        def ask(priority: Priority) -> None:
            call = said("x", priority=priority, deadline_s=SOON_S)
            try:
                answers.append(next(client.request(call)))
            except Busy as error:
                answers.append(error)

        def ask_aside(priority: Priority, until: tuple[int, int]) -> threading.Thread:
            thread = threading.Thread(target=ask, args=(priority,))
            thread.start()
            limit = time.monotonic() + SOON_S
            while (status := router.status()) and until != (
                status.in_flight,
                sum(status.waiting.values()),
            ):
                assert time.monotonic() < limit, status
                time.sleep(0.005)
            return thread

        threads = [ask_aside(Priority.BULK, (1, 0)), ask_aside(Priority.BULK, (1, 1))]
        begun = time.monotonic()
        ask(Priority.BULK)
        assert isinstance(answers[-1], Busy) and time.monotonic() - begun < 0.5
        threads.append(ask_aside(Priority.CHAT, (1, 2)))
        release.set()
        for thread in threads:
            thread.join(SOON_S)
        assert answers[1:] == [{"text": "x"}] * 3


def test_a_stopped_router_ends_soon() -> None:
    router = Router("s", ANY_PORT, ANY_PORT)
    thread = threading.Thread(target=router.run)
    thread.start()
    begun = time.monotonic()
    router.stop()
    thread.join(SOON_S)
    assert not thread.is_alive() and time.monotonic() - begun < 1.0


def test_a_router_that_never_ran_can_be_closed() -> None:
    router = Router("s", ANY_PORT, ANY_PORT)
    router.close()
    Router("s", router.front, router.back).close()
