"""Two hosts, as network namespaces: a worker joins from the other, is cut off, and comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.keys import KeyStore
from rwkv_rag.bus.security import RouterSecurity
from rwkv_rag.bus.transport import Call
from rwkv_rag.errors import DeadlineExceeded, RagError, WorkerLost
from rwkv_rag.types import WorkerStatus

from .parties import calling

NEAR, FAR = "10.213.7.1", "10.213.7.2"
BACK = f"tcp://{NEAR}:7782"
SOON_S = 10.0
PROGRAM = """
import os, sys, time
from pathlib import Path
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.security import PeerSecurity, RouterSecurity
from rwkv_rag.bus.worker import Worker

def answer(incoming):
    given = incoming.arguments(dict)
    if incoming.method == "count":
        return iter(range(10**9))
    until = time.monotonic() + given["seconds"]
    while time.monotonic() < until and not incoming.cancelled():
        time.sleep(0.01)
    return os.getpid()

role, front, back, keys = sys.argv[1:]
quick = {"beat_s": 0.1, "dead_s": 1.0}
if role == "router":
    Router("echo", front, back, security=RouterSecurity.load(Path(keys)), **quick).run()
else:
    own = PeerSecurity.load(Path(keys))
    Worker(answer, back, name="far", slots=4, security=own, **quick).run()
"""


def ip(*arguments: str) -> None:
    command = ["ip", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if ran.returncode:
        raise OSError(f"{' '.join(command)}: {ran.stderr.strip()}")


class Hosts:
    """Two namespaces and the cable between them."""

    def __init__(self, opened: ExitStack) -> None:
        self.near, self.far = (f"rr{os.getpid()}{side}" for side in ("near", "far"))
        for name in (self.near, self.far):
            ip("netns", "add", name)
            opened.callback(ip, "netns", "del", name)
        ip(*f"link add eth1 netns {self.near} type veth peer name eth1 netns {self.far}".split())
        for name, address in ((self.near, NEAR), (self.far, FAR)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth1")
            ip("-n", name, "link", "set", "eth1", "up")

    def cable(self, state: str) -> None:
        """Pull it out ("down") or put it back in ("up")."""
        ip("-n", self.far, "link", "set", "eth1", state)

    @contextmanager
    def program(self, host: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        command = ["ip", "netns", "exec", host, sys.executable, "-c", PROGRAM, *arguments]
        with subprocess.Popen(command) as process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if not shutil.which("ip"):
        pytest.skip("there is no iproute2 here")
    with ExitStack() as opened:
        try:
            made = Hosts(opened)
        except OSError as error:
            pytest.skip(f"network namespaces are not permitted here: {error}")
        yield made


@contextmanager
def service(hosts: Hosts) -> Iterator[tuple[QueueClient, subprocess.Popen[bytes]]]:
    """A router on one host, a worker on the other, and a client beside the router."""
    with tempfile.TemporaryDirectory(prefix="rr") as folder, ExitStack() as opened:
        home, key = Path(folder), Path(folder, "far.key")
        KeyStore(home).add("far", key)
        front = f"ipc://{folder}/front"
        opened.enter_context(hosts.program(hosts.near, "router", front, BACK, folder))
        worker = opened.enter_context(hosts.program(hosts.far, "worker", "", BACK, str(key)))
        security = RouterSecurity.load(home).peer()
        client = opened.enter_context(calling(front, security=security, connect_s=SOON_S))
        yield client, worker


def eventually(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)


def ask(client: QueueClient, seconds: float = 0.0, **changes: Any) -> Any:
    """The process id of who answered, or the error."""
    call = Call(
        "echo", "wait", {"seconds": seconds}, returns=int, **{"deadline_s": 20.0, **changes}
    )
    try:
        return next(client.request(call))
    except RagError as error:
        return error


def workers(client: QueueClient) -> tuple[WorkerStatus, ...]:
    return client.status().workers


def busy(client: QueueClient, requests: int) -> bool:
    return sum(worker.in_flight for worker in workers(client)) == requests


def test_a_worker_that_was_cut_off_serves_again_and_nothing_hangs(hosts: Hosts) -> None:
    with service(hosts) as (client, worker), ThreadPoolExecutor(4) as pool:
        assert ask(client) == worker.pid
        stream = client.request(Call("echo", "count", returns=int, stream=True, deadline_s=20.0))
        assert [next(stream) for _ in range(100)] == list(range(100))
        once = pool.submit(ask, client, 30.0)
        again = pool.submit(ask, client, 1.0, repeatable=True)
        eventually(lambda: busy(client, 3))

        hosts.cable("down")
        cut = time.monotonic()
        assert isinstance(once.result(SOON_S), WorkerLost)
        with pytest.raises(WorkerLost):
            for number in stream:
                assert number >= 100
        late = ask(client, deadline_s=0.5)
        assert isinstance(late, DeadlineExceeded) and "no worker" in str(late)
        assert time.monotonic() - cut < 5.0
        assert workers(client) == () and not again.done()

        hosts.cable("up")
        assert again.result(SOON_S) == worker.pid  # waited, and was given to the one that came back
        assert ask(client) == worker.pid
        assert worker.poll() is None and client.status().in_flight == 0


def test_a_cut_that_nobody_had_time_to_notice_loses_nothing(hosts: Hosts) -> None:
    with service(hosts) as (client, worker), ThreadPoolExecutor(1) as pool:
        assert ask(client) == worker.pid
        answer = pool.submit(ask, client, 0.4)
        eventually(lambda: busy(client, 1))
        hosts.cable("down")
        time.sleep(0.2)
        hosts.cable("up")
        assert answer.result(SOON_S) == worker.pid
