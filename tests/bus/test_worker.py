"""A worker on real sockets: its errors, its slots, how it ends, and what it does when stuck."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import zmq

from rwkv_rag.bus import message
from rwkv_rag.bus.message import SCHEMA, pack
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.transport import Call, Incoming
from rwkv_rag.bus.worker import Worker
from rwkv_rag.errors import BadMessage, Internal, Message, NotFound

from .parties import ANY_PORT, QUICK, calling, routing, said, thread_of, working

SOON_S = 5.0


def eventually(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


def raising(error: BaseException) -> Callable[[Incoming], Any]:
    def handler(incoming: Incoming) -> Any:
        raise error

    return handler


@pytest.mark.parametrize("error", [NotFound("no base 'x'"), BadMessage("what?")], ids=str)
def test_our_errors_come_through_as_what_they_are(error: Exception) -> None:
    with (
        routing() as router,
        working(router.back, raising(error)),
        calling(router.front) as client,
        pytest.raises(type(error)) as caught,
    ):
        client.request(said("x"))
    assert type(caught.value) is type(error) and str(caught.value) == str(error)


@pytest.mark.parametrize("error", [ZeroDivisionError("secret 42"), SystemExit(1), MemoryError()])
def test_a_mistake_in_the_program_stays_in_the_log_of_the_worker(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        routing() as router,
        working(router.back, raising(error), slots=1),
        calling(router.front) as client,
    ):
        for _ in range(2):  # the slot goes on
            with pytest.raises(Internal, match=r"echo\.say failed in w") as caught:
                client.request(said("x"))
        assert "secret" not in str(caught.value)
    logged = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(logged) == 2 and all(each.exc_info for each in logged)


def test_a_value_that_cannot_travel_is_an_error_and_not_the_end() -> None:
    with (
        routing() as router,
        working(router.back, lambda incoming: object(), slots=1),
        calling(router.front) as client,
    ):
        for _ in range(2):
            with pytest.raises(BadMessage, match="cannot be sent"):
                client.request(said("x"))


def test_as_many_requests_are_worked_on_as_there_are_slots() -> None:
    together = threading.Barrier(4, timeout=SOON_S)

    def meet(incoming: Incoming) -> dict[str, Any]:
        together.wait()
        return {}

    with (
        routing() as router,
        working(router.back, meet, slots=4),
        calling(router.front) as client,
    ):
        threads = [
            threading.Thread(target=lambda: list(client.request(said("x")))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON_S)
        assert not together.broken
        assert client.status().workers[0].served == 4


def test_what_a_worker_says_of_itself_reaches_the_status() -> None:
    with (
        routing() as router,
        working(router.back, facts=lambda: {"model": "m", "memory_bytes": 7}),
    ):
        eventually(lambda: router.status().workers and router.status().workers[0].facts)
        assert router.status().workers[0].facts == {"model": "m", "memory_bytes": 7}


def test_facts_that_fail_are_no_facts() -> None:
    def fail() -> dict[str, str]:
        raise OSError

    with routing() as router, working(router.back, facts=fail), calling(router.front) as client:
        assert next(client.request(said("x"))) == {"text": "x"}
        assert router.status().workers[0].facts == {}


def test_a_worker_that_is_stopped_finishes_what_it_works_on_and_takes_nothing_new() -> None:
    begun, release = threading.Event(), threading.Event()

    def slow(incoming: Incoming) -> dict[str, str]:
        begun.set()
        release.wait(SOON_S)
        return {"text": "late"}

    with routing() as router, calling(router.front) as client:
        worker = Worker(slow, router.back, name="first", slots=2, **QUICK)
        running = threading.Thread(target=worker.run)
        running.start()
        answers: list[Any] = []
        asking = threading.Thread(target=lambda: answers.extend(client.request(said("x"))))
        asking.start()
        assert begun.wait(SOON_S)
        worker.stop(drain_s=SOON_S)
        eventually(lambda: [each.slots for each in router.status().workers] == [2])
        with working(router.back, name="second"):
            assert next(client.request(said("y"))) == {"text": "y"}
            release.set()
            asking.join(SOON_S)
            running.join(SOON_S)
            assert answers == [{"text": "late"}] and not running.is_alive()
            eventually(lambda: [each.name for each in router.status().workers] == ["second"])


def test_a_worker_without_work_ends_at_once() -> None:
    with routing(dead_s=5.0) as router:
        worker = Worker(lambda _: None, router.back, name="w", slots=3)  # beats once a second
        with thread_of(worker.run, worker.stop) as running:
            eventually(lambda: sum(each.slots for each in router.status().workers) == 3)
            begun = time.monotonic()
            worker.stop()
            running.join(SOON_S)
            assert time.monotonic() - begun < 0.9


def test_a_worker_whose_router_is_away_can_be_stopped() -> None:
    with routing() as router:
        place = router.back
    worker = Worker(lambda _: None, place, name="w", **QUICK)
    with thread_of(worker.run, worker.stop) as running:
        time.sleep(0.05)
        worker.stop()
        running.join(SOON_S)
        assert not running.is_alive()


def test_a_request_that_does_not_end_after_its_cancel_is_reported_once() -> None:
    begun, release, stuck = threading.Event(), threading.Event(), []

    def stubborn(incoming: Incoming) -> None:
        begun.set()
        release.wait(SOON_S)

    with (
        routing() as router,
        working(router.back, stubborn, stuck_s=0.2, on_stuck=lambda: stuck.append(1)),
        calling(router.front) as client,
    ):
        stream = Call("echo", "say", {"text": "x"}, deadline_s=0.1)
        with pytest.raises(Exception, match=r"0\.1 s"):
            client.request(stream)
        assert begun.is_set()
        eventually(lambda: stuck)
        time.sleep(0.3)
        assert stuck == [1]
        release.set()


def test_cancelled_is_true_as_soon_as_the_caller_has_gone_though_the_slot_computes() -> None:
    seen = threading.Event()

    def computing(incoming: Incoming) -> None:
        until = time.monotonic() + SOON_S
        while not incoming.cancelled() and time.monotonic() < until:
            time.sleep(0.005)
        if incoming.cancelled():
            seen.set()

    with (
        routing() as router,
        working(router.back, computing, slots=1),
        calling(router.front) as client,
    ):
        with pytest.raises(Exception, match=r"0\.1 s"):
            client.request(said("x", deadline_s=0.1))
        assert seen.wait(1.0)


def test_a_router_of_another_version_ends_the_worker_with_what_to_do() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        worker = Worker(lambda _: None, f"tcp://127.0.0.1:{port}", name="w", **QUICK)
        failed: list[BadMessage] = []

        def run() -> None:
            try:
                worker.run()
            except BadMessage as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        for _ in range(2):  # the worker and its slot speak up
            identity, _ = socket.recv_multipart()
            socket.send_multipart(
                [identity, pack(message.Fault(0, "bad_message", Message("update both")))]
            )
        thread.join(SOON_S)
        assert not thread.is_alive() and "update both" in str(failed[0])


def test_what_a_router_should_not_say_is_logged_and_left(caplog: pytest.LogCaptureFixture) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.linger = 0
        port = socket.bind_to_random_port("tcp://127.0.0.1")
        with working(f"tcp://127.0.0.1:{port}", slots=1):
            slots = set()
            while not slots:
                identity, said_first = socket.recv_multipart()
                if type(message.from_worker.decode(said_first)) is message.Join:
                    slots.add(identity)
            (slot,) = slots
            for frames in ([b"\xc1"], [b""], [pack(message.Credit(1, 1))], [b"\x90", b"x", b"y"]):
                socket.send_multipart([slot, *frames])
            request = message.Request(5, SCHEMA, 1, 5.0, False, False, "echo", "say", {})
            socket.send_multipart([slot, pack(request), b"\x81\xa4text\xa1x"])
            while True:
                identity, *frames = socket.recv_multipart()
                if identity == slot and len(frames) == 2:
                    break
            assert message.to_client.decode(frames[0]) == message.Reply(5, True)


def test_the_defaults_need_no_router_to_be_there_yet() -> None:
    with routing() as router:
        place = router.back
    with working(place):
        started = Router("echo", ANY_PORT, place, **QUICK)
        with thread_of(started.run, started.stop), calling(started.front) as client:
            assert next(client.request(said("x", deadline_s=SOON_S))) == {"text": "x"}


def test_a_slot_that_computes_for_longer_than_a_line_may_be_silent_keeps_its_line() -> None:
    def long(incoming: Incoming) -> dict[str, str]:
        time.sleep(2.5)
        return {"text": "done"}

    with routing() as router, working(router.back, long), calling(router.front) as client:
        assert next(client.request(said("x", deadline_s=2 * SOON_S))) == {"text": "done"}
        assert client.status().failed == 0
