"""Real processes that are killed, stopped and cut off; whatever happens, the next request works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.transport import Call
from rwkv_rag.errors import DeadlineExceeded, RagError, Unreachable, WorkerLost

from .parties import calling

SCRIPT = Path(__file__).with_name("process.py")
SOON_S = 8.0


class Place:
    """A service of processes: their addresses, the marks they leave, and themselves by name."""

    def __init__(self, folder: Path, scheme: str) -> None:
        self.marks = folder / "marks"
        self.marks.touch()
        self.front, self.back = f"ipc://{folder}/f", f"ipc://{folder}/b"
        if scheme == "tcp":
            self.front, self.back = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        line = ["router", self.front, self.back]
        if name != "router":
            line = ["worker", self.back, name, str(self.marks)]
        self.processes[name] = subprocess.Popen([sys.executable, str(SCRIPT), *line])

    def signal(self, name: str, number: int) -> None:
        self.processes[name].send_signal(number)
        if number == signal.SIGKILL:
            self.processes.pop(name).wait()

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)

    def marked(self, what: str) -> int:
        return self.marks.read_text().count(what)

    def worker_of(self, what: str) -> str:
        """The name of the worker that left a mark."""
        eventually(lambda: self.marked(what))
        lines = [line for line in self.marks.read_text().splitlines() if what in line]
        return lines[-1].partition(":")[0]

    def end(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def eventually(condition: Callable[[], Any], within_s: float = SOON_S) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.01)


@contextmanager
def running(scheme: str, *workers: str) -> Iterator[tuple[Place, QueueClient]]:
    """A router, these workers, all of them known to it, and a client."""
    with tempfile.TemporaryDirectory(prefix="rr") as folder:
        place = Place(Path(folder), scheme)
        try:
            for name in ("router", *workers):
                place.start(name)
            with calling(place.front, connect_s=SOON_S) as client:
                eventually(lambda: workers_of(client) == {*workers})
                yield place, client
        finally:
            place.end()


def workers_of(client: QueueClient) -> set[str]:
    return {worker.name for worker in client.status().workers}


def who(**changes: Any) -> Call:
    return Call("echo", "who", returns=str, **{"deadline_s": SOON_S, **changes})


def slow(seconds: float, text: str = "", **changes: Any) -> Call:
    return Call("echo", "slow", {"seconds": seconds, "text": text}, returns=str, **changes)


def flood(text: str = "") -> Call:
    return Call("echo", "flood", {"text": text}, returns=bytes, stream=True, deadline_s=SOON_S)


class Asking(threading.Thread):
    """A call in a thread of its own: what came of it, and how long that took."""

    def __init__(self, client: QueueClient, call: Call) -> None:
        super().__init__(daemon=True)
        self._client, self._call = client, call
        self.came: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.came = next(self._client.request(self._call))
        except RagError as error:
            self.came = error

    def result(self, within_s: float = SOON_S) -> Any:
        self.join(within_s)
        assert not self.is_alive(), "no answer"
        return self.came


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_a_worker_that_is_killed_while_idle_is_missed_at_once(scheme: str) -> None:
    with running(scheme, "a", "b") as (place, client):
        place.kill("a")
        eventually(lambda: workers_of(client) == {"b"}, within_s=0.8)  # sooner than dead_s
        assert [next(client.request(who())) for _ in range(4)] == ["b"] * 4


@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
def test_a_stream_whose_worker_is_killed_says_so_at_once(scheme: str) -> None:
    with running(scheme, "a", "b") as (place, client):
        stream = client.request(flood())
        next(stream)
        place.kill(place.worker_of("flood"))
        begun = time.monotonic()
        with pytest.raises(WorkerLost, match="lost"):
            for _ in range(1000):
                next(stream)
        assert time.monotonic() - begun < 0.8
        with pytest.raises(StopIteration):
            next(stream)
        assert next(client.request(who())) in "ab"


def test_a_repeatable_request_whose_worker_is_killed_is_given_to_another() -> None:
    with running("ipc", "a", "b") as (place, client):
        asking = Asking(client, slow(0.5, "first", repeatable=True))
        first = place.worker_of("slow first")
        place.kill(first)
        assert asking.result() == {"a": "b", "b": "a"}[first]
        assert place.marked("slow first") == 2


def test_a_request_that_must_not_be_repeated_fails_when_its_worker_is_killed() -> None:
    with running("ipc", "a", "b") as (place, client):
        asking = Asking(client, slow(30, "once"))
        place.kill(place.worker_of("slow once"))
        assert isinstance(asking.result(within_s=0.8), WorkerLost)
        assert place.marked("slow once") == 1


def test_a_request_is_repeated_once_only() -> None:
    with running("ipc", "a", "b") as (place, client):
        asking = Asking(client, slow(30, "twice", repeatable=True))
        first = place.worker_of("slow twice")
        place.kill(first)
        second = {"a": "b", "b": "a"}[first]
        eventually(lambda: place.marked(f"{second}: slow twice"))
        place.kill(second)
        assert isinstance(asking.result(), WorkerLost)


def test_a_router_that_is_killed_and_started_again_is_found_by_all() -> None:
    with running("tcp", "a", "b", "c") as (place, client):
        stream = client.request(flood())
        next(stream)
        once = Asking(client, slow(30, "once"))
        place.worker_of("slow once")
        again = Asking(client, slow(0.3, "again", repeatable=True))
        place.worker_of("slow again")
        """unreachable"""
        place.kill("router")
        assert isinstance(once.result(), WorkerLost)
        place.start("router")
        assert again.result() in "abc"
        eventually(lambda: workers_of(client) == {"a", "b", "c"})
        assert next(client.request(who())) in "abc"
        with pytest.raises(WorkerLost):
            list(stream)


def test_a_router_that_is_gone_for_good_is_unreachable() -> None:
    with running("ipc", "a") as (place, _), calling(place.front, connect_s=0.5) as other:
        assert next(other.request(who())) == "a"
        place.kill("router")
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="rwkv-rag up"):
            other.request(who())
        assert time.monotonic() - begun < 2


def test_a_stopped_worker_is_given_up_and_serves_again_when_it_goes_on() -> None:
    with running("tcp", "a", "b") as (place, client):
        asking = Asking(client, slow(0.3, "frozen", repeatable=True))
        first = place.worker_of("slow frozen")
        place.signal(first, signal.SIGSTOP)
        other = {"a": "b", "b": "a"}[first]
        assert asking.result() == other
        eventually(lambda: workers_of(client) == {other})
        place.signal(first, signal.SIGCONT)  # its late answer is nobody's
        eventually(lambda: {next(client.request(who())) for _ in range(4)} == {"a", "b"})
        status = client.status()
        assert status.in_flight == 0 and status.failed == 0


def test_a_slow_client_holds_up_the_worker_and_not_the_memory() -> None:
    with running("tcp", "a") as (place, client):
        stream = client.request(flood())
        memory = psutil.Process(place.processes["router"].pid).memory_info
        next(stream)
        before = memory().rss
        time.sleep(0.5)
        assert memory().rss - before < 20 << 20
        stream.close()
        eventually(lambda: place.marked("closed after"))
        made = int(place.marks.read_text().split()[-1])
        assert made <= 33
        assert next(client.request(who())) == "a"


CLIENT = """
import sys
from rwkv_rag.bus.transport import Call
from rwkv_rag.bus.client import QueueClient
client = QueueClient(sys.argv[1])
if sys.argv[2] == "slow":
    print("asking", flush=True)
    client.request(Call("echo", "slow", {"seconds": 60, "text": "gone"}))
stream = client.request(Call("echo", "flood", {"text": "gone"}, returns=bytes, stream=True))
next(stream)
print("streaming", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(("method", "mark"), [("slow", "cancelled"), ("flood", "closed after")])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_client_that_disappears_takes_its_request_along(
    method: str, mark: str, number: int
) -> None:
    with running("tcp", "a") as (place, client):
        line = [sys.executable, "-c", CLIENT, place.front, method]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as gone:
            try:
                assert gone.stdout is not None and gone.stdout.readline()
                eventually(lambda: place.marked("gone"))
                gone.send_signal(number)
                eventually(lambda: place.marked(mark))
                assert next(client.request(who())) == "a"
                assert client.status().in_flight == 0
            finally:
                gone.kill()


def test_sixty_four_clients_at_once_are_answered_once_each() -> None:
    with running("tcp", "a", "b") as (place, _):
        answers: Counter[str] = Counter()

        def ask(number: int) -> None:
            with calling(place.front, connect_s=20.0) as client:
                for turn in range(5):
                    text = f"<{number}.{turn}>"
                    call = Call("echo", "say", {"text": text}, returns=str)
                    answers[next(client.request(call))] += 1

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(answers) == 64 * 5 and set(answers.values()) == {1}
        assert all(place.marked(text) == 1 for text in answers)


def test_a_deadline_is_kept_while_the_worker_computes_and_it_is_told() -> None:
    with running("ipc", "a") as (place, client):
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"0\.3 s"):
            client.request(slow(30, deadline_s=0.3))
        assert 0.3 <= time.monotonic() - begun < 1.0
        eventually(lambda: place.marked("cancelled"))
        assert next(client.request(who())) == "a"


def test_a_program_that_forgets_to_close_ends_all_the_same() -> None:
    with running("tcp", "a") as (place, _):
        program = CLIENT.replace("sys.stdin.readline()", "")
        line = [sys.executable, "-c", program, place.front, "flood"]
        ended = subprocess.run(line, capture_output=True, timeout=SOON_S, check=False)
        assert (ended.returncode, ended.stdout) == (0, b"streaming\n"), ended.stderr
        eventually(lambda: place.marked("closed after"))


def test_processes_of_this_file_die_with_their_test() -> None:
    with running("ipc", "a") as (place, _):
        pids = [process.pid for process in place.processes.values()]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
