"""Calls over real sockets: one by one, as streams, from many threads, and cut short."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import pytest
import zmq
from numpy.typing import NDArray

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.message import WINDOW
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.transport import Call, Incoming
from rwkv_rag.errors import BadMessage, DeadlineExceeded, InputError, NotFound, Unreachable

from .parties import calling, repeated, routing, said, working

SOON_S = 5.0


class Numbers:
    """A stream that shows what was done with it; `wait` holds it up."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.closed = threading.Event()
        self.cancelled: Callable[[], bool] = lambda: False
        self.wait = threading.Event()
        self.wait.set()

    def __call__(self, incoming: Incoming) -> Any:
        self.cancelled = incoming.cancelled
        if incoming.method == "early":
            raise NotFound("at the call")
        return self._values(incoming.method)

    def _values(self, method: str) -> Iterator[int]:
        try:
            for number in range(100):
                self.wait.wait(SOON_S)
                if method == "later" and number == 3:
                    raise NotFound("at the fourth")
                self.made.append(number)
                yield number
        finally:
            self.closed.set()


@contextmanager
def service(handler: Any = None, scheme: str = "tcp", **options: Any) -> Iterator[QueueClient]:
    """A client of a router with a worker, all in this process."""
    with TemporaryDirectory(prefix="rr") as folder, zmq.Context() as context:
        places = (
            {} if scheme == "tcp" else {"front": f"ipc://{folder}/f", "back": f"ipc://{folder}/b"}
        )
        shared: dict[str, Any] = {}
        if scheme == "inproc":
            places = {"front": "inproc://front", "back": "inproc://back"}
            shared = {"context": context}
        given = {} if handler is None else {"handler": handler}
        with (
            routing(**places, **shared) as router,
            working(router.back, **given, **shared),
            calling(router.front, **shared, **options) as client,
        ):
            yield client


@contextmanager
def settled() -> Iterator[Router]:
    """A router and a worker with all lines between them open."""
    with routing() as router, working(router.back, slots=1, facts=lambda: {"is": "here"}):
        with calling(router.front) as client:
            assert next(client.request(said("x"))) == {"text": "x"}
        eventually(lambda: router.status().workers[0].facts)
        time.sleep(0.2)  # for the router to close its end of the client's line
        yield router


def stream(method: str = "all", **changes: Any) -> Call:
    return Call("numbers", method, stream=True, returns=int, **changes)


def eventually(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
def test_a_call_is_answered_and_a_stream_comes_whole_and_in_order(scheme: str) -> None:
    with service(scheme=scheme) as client:
        assert list(client.request(said("你好"))) == [{"text": "你好"}]
        assert list(client.request(repeated("x", 500))) == ["x"] * 500
        assert list(client.request(repeated("x", 0))) == []


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc"])
def test_arrays_arrive_as_they_were_sent_however_large(scheme: str) -> None:
    arrays = [np.arange(n, dtype=np.float32).reshape(-1, 4) for n in (0, 4, 65_536, 4_000_000)]
    sent = iter(arrays)
    with service(lambda incoming: next(sent), scheme=scheme) as client:
        for array in arrays:
            call = Call("numbers", "array", returns=NDArray[np.float32])
            np.testing.assert_array_equal(next(client.request(call)), array)


def test_nothing_is_made_before_it_is_asked_for_and_no_more_than_a_window_ahead() -> None:
    numbers = Numbers()
    with service(numbers) as client:
        replies = client.request(stream())
        time.sleep(0.1)
        assert numbers.made == []
        assert next(replies) == 0
        eventually(lambda: len(numbers.made) >= WINDOW)
        time.sleep(0.1)
        assert len(numbers.made) == WINDOW
        assert list(replies) == list(range(1, 100))
        assert numbers.closed.is_set()
        assert list(replies) == []


def test_what_is_wrong_with_the_call_is_raised_by_it_and_later_errors_by_the_stream() -> None:
    with service(Numbers()) as client:
        with pytest.raises(NotFound, match="at the call"):
            client.request(stream("early"))
        replies = client.request(stream("later"))
        assert [next(replies) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(NotFound, match="at the fourth"):
            next(replies)
        assert list(replies) == []


@pytest.mark.parametrize("way", ["close", "forget"])
def test_a_stream_that_is_closed_or_forgotten_is_cancelled(way: str) -> None:
    numbers = Numbers()
    with service(numbers) as client:
        replies: Any = client.request(stream())
        next(replies)
        if way == "close":
            replies.close()
            assert list(replies) == []
        else:
            del replies
            gc.collect()
        assert numbers.closed.wait(SOON_S) and numbers.cancelled()
        assert len(numbers.made) <= WINDOW
        assert list(client.request(stream())) == list(range(100))


def test_a_stream_that_was_never_begun_can_be_closed() -> None:
    numbers = Numbers()
    with service(numbers) as client:
        replies: Any = client.request(stream())
        replies.close()
        assert numbers.made == [] and list(replies) == []
        assert list(client.request(stream())) == list(range(100))


def test_another_thread_can_end_a_stream_that_somebody_waits_for() -> None:
    numbers = Numbers()
    numbers.wait.clear()
    with service(numbers) as client:
        replies: Any = client.request(stream())
        got: list[int] = []
        waiting = threading.Thread(target=lambda: got.extend(replies))
        waiting.start()
        time.sleep(0.05)
        replies.close()
        waiting.join(2.0)
        assert not waiting.is_alive() and got == []
        numbers.wait.set()
        assert numbers.closed.wait(SOON_S)


def test_a_deadline_shorter_than_a_ping_is_kept() -> None:
    numbers = Numbers()
    numbers.wait.clear()
    with service(numbers, ping_s=1.0) as client:
        replies = client.request(stream(deadline_s=0.1))
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"numbers\.all gave no reply in 0\.1 s"):
            next(replies)
        assert 0.1 <= time.monotonic() - begun < 0.8
        numbers.wait.set()
        eventually(lambda: numbers.cancelled())
        assert list(client.request(stream())) == list(range(100))


def test_every_reply_starts_the_deadline_anew() -> None:
    def slow(incoming: Incoming) -> Iterator[int]:
        for number in range(6):
            time.sleep(0.1)
            yield number

    with service(slow) as client:
        assert list(client.request(stream(deadline_s=0.3))) == list(range(6))


def test_a_slow_answer_survives_many_pings() -> None:
    with (
        service(lambda incoming: time.sleep(0.5) or "done", ping_s=0.03) as client,
    ):
        call = Call("numbers", "slow", returns=str, deadline_s=SOON_S)
        assert next(client.request(call)) == "done"


def test_a_reply_of_another_type_is_refused_and_the_next_call_works() -> None:
    with service() as client:
        with pytest.raises(BadMessage):
            client.request(Call("echo", "say", {"text": "x"}, returns=int))
        replies = client.request(
            Call("echo", "repeat", {"text": "x", "times": 9}, stream=True, returns=int)
        )
        with pytest.raises(BadMessage):
            next(replies)
        assert next(client.request(said("x"))) == {"text": "x"}


def test_arguments_that_cannot_travel_are_refused_before_anything_is_sent() -> None:
    with service() as client, pytest.raises(BadMessage, match="cannot be sent"):
        client.request(said(object()))


def test_a_stream_that_is_called_as_if_it_were_none_is_an_error() -> None:
    with service() as client:
        with pytest.raises(BadMessage, match="cannot be sent"):
            client.request(Call("echo", "repeat", {"text": "x", "times": 3}))
        assert next(client.request(said("x"))) == {"text": "x"}


def test_many_threads_share_a_transport() -> None:
    with service() as client:
        wrong: list[Any] = []

        def talk(number: int) -> None:
            for turn in range(20):
                text = f"{number}.{turn}"
                if next(client.request(said(text))) != {"text": text}:
                    wrong.append(text)
                if list(client.request(repeated(text, 5))) != [text] * 5:
                    wrong.append(text)

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert wrong == []


def test_nobody_there_is_unreachable_within_the_time_that_was_given() -> None:
    with routing() as router:
        place = router.front
    with calling(place, connect_s=0.3) as client:
        for ask in (lambda: client.request(said("x")), client.status, lambda: client.directory):
            begun = time.monotonic()
            with pytest.raises(Unreachable, match=f"nobody answers at {place}"):
                ask()
            assert time.monotonic() - begun < 1.5


def test_a_port_where_something_else_answers_is_unreachable() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with calling(url, connect_s=0.3) as client, pytest.raises(Unreachable):
            client.request(said("x"))


def test_an_address_that_is_none_is_an_error_of_the_user() -> None:
    with pytest.raises(InputError):
        QueueClient("http://127.0.0.1")


@pytest.mark.parametrize("scheme", ["tcp", "inproc"])
def test_closing_wakes_who_waits_and_leaves_nothing_behind(scheme: str) -> None:
    numbers = Numbers()
    numbers.wait.clear()
    with service(numbers, scheme=scheme) as client:
        came: list[Exception] = []

        def fetch() -> None:
            try:
                next(client.request(stream()))
            except Unreachable as error:
                came.append(error)

        threads = [threading.Thread(target=fetch) for _ in range(2)]
        for thread in threads:
            thread.start()
        eventually(lambda: client.status().in_flight == 2)
        begun = time.monotonic()
        client.close()
        for thread in threads:
            thread.join(SOON_S)
        assert len(came) == 2 and time.monotonic() - begun < 2.0
        with pytest.raises(Unreachable, match="closed"):
            client.request(said("x"))
        client.close()
        numbers.wait.set()


def test_a_closed_transport_has_given_back_its_threads_and_files() -> None:
    with settled() as router:
        me = psutil.Process()

        def used() -> tuple[int, int]:
            return me.num_threads(), me.num_fds()

        before = used()
        for _ in range(3):
            with calling(router.front) as client:
                assert next(client.request(said("x"))) == {"text": "x"}
                held = client.request(repeated("x", 100))
                next(held)
        with pytest.raises(Unreachable):
            next(held)
        eventually(lambda: used() <= before)  # the router closes its ends a moment later


def test_calls_one_after_another_share_one_connection() -> None:
    with settled() as router, calling(router.front) as client:
        next(client.request(said("x")))
        before = psutil.Process().num_fds()
        for _ in range(50):
            next(client.request(said("x")))
            next(client.request(repeated("x", 5)))
        gc.collect()
        assert psutil.Process().num_fds() == before


def test_a_stream_from_which_nobody_fetches_for_long_keeps_its_line() -> None:
    with service() as client:
        replies = client.request(repeated("x", 100))
        next(replies)
        time.sleep(2.5)  # more than any line may be silent
        assert list(replies) == ["x"] * 99


def test_a_connection_that_rested_for_long_is_used_again() -> None:
    with settled() as router, calling(router.front) as client:
        next(client.request(said("x")))
        before = psutil.Process().net_connections("tcp")
        time.sleep(2.5)
        next(client.request(said("x")))
        assert psutil.Process().net_connections("tcp") == before


def test_a_call_finds_another_router_where_the_first_was() -> None:
    with routing() as router:
        places = {"front": router.front, "back": router.back}
        with working(router.back):
            client = QueueClient(router.front, ping_s=0.2, dead_s=1.0)
            assert next(client.request(said("x"))) == {"text": "x"}
    with routing(**places), working(places["back"]):
        assert next(client.request(said("y"))) == {"text": "y"}  # though it may not be repeated
    client.close()


def test_closing_ends_who_waits_for_a_router_at_once() -> None:
    with routing() as router:
        place = router.front
    client = QueueClient(place, connect_s=60.0)
    came: list[Exception] = []

    def ask() -> None:
        try:
            client.request(said("x"))
        except Unreachable as error:
            came.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: client._connections)
    client.close()
    thread.join(SOON_S)
    assert not thread.is_alive() and "closed" in str(came[0])
