"""Everything runs, is kept running, and leaves nothing: real processes, killed for real."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from rwkv_rag import app
from rwkv_rag.bus.client import QueueClient
from rwkv_rag.config import Settings
from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.interfaces import Supervision
from rwkv_rag.processes import ports
from rwkv_rag.services.contracts import SUPERVISION
from rwkv_rag.services.remote import remote

from .conftest import Start
from .running import QUEUES, Up, eventually, free_port, run

NAMES = {f"{name}-{what}" for name in ("llm", "index", "tuning") for what in ("router", "1")}


@pytest.fixture(scope="module")
def services() -> Iterator[Up]:
    """The three services, for tests that leave them as they found them."""
    with tempfile.TemporaryDirectory(prefix="rr-") as folder:
        running = Up(Path(folder))
        try:
            yield running.ready()
        finally:
            running.clean()


@pytest.fixture
def supervision(services: Up) -> Iterator[Supervision]:
    with closing(QueueClient(services.running.control)) as transport:
        yield remote(SUPERVISION, transport)


def test_every_service_is_ready_and_has_its_processes(services: Up) -> None:
    status = services.status()
    assert [*status] == ["llm", "index", "tuning"]
    assert {each.state for each in status.values()} == {"ready"}
    assert {*services.children()} == NAMES
    llm = status["llm"].queue
    assert llm and [worker.name for worker in llm.workers] == ["llm-1"]
    assert llm.workers[0].facts["model"] == "fake"
    assert status["llm"].memory_bytes > 10_000_000


def test_the_parts_of_the_program_find_the_services_by_the_home(services: Up) -> None:
    with app.open_client(Settings(services.home, model="fake", named=False)) as parts:
        assert parts.connected
        assert parts.generator().name == services.asks()
        assert parts.knowledge.bases() == []
        assert parts.tuner.jobs() == []


@pytest.mark.parametrize("victim", ["llm-1", "llm-router"])
def test_a_killed_process_is_started_again_and_the_next_request_works(
    services: Up, victim: str
) -> None:
    others = {name: each.pid for name, each in services.children().items() if name != victim}
    restarts = services.status()["llm"].restarts
    killed = services.children()[victim]
    killed.kill()
    assert services.asks() == "copy"
    eventually(lambda: services.status()["llm"].state == "ready")
    status = services.status()["llm"]
    assert status.restarts == restarts + 1
    assert services.children()[victim].pid != killed.pid
    assert others.items() <= {n: each.pid for n, each in services.children().items()}.items()
    assert f"{victim}: ended (killed by signal 9); it is started again" in services.text


def test_a_restarted_service_keeps_its_requests_and_leaves_the_others_alone(
    services: Up, supervision: Supervision
) -> None:
    before = {name: each.pid for name, each in services.children().items()}
    answers: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            answers.append(services.asks())

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    (services.home / "ragq.yml").write_text(f"{QUEUES}llm: {{num_workers: 2}}\n")
    try:
        states = [status.state for status in supervision.restart("llm")]
    finally:
        ended.set()
        for thread in asking:
            thread.join()
        (services.home / "ragq.yml").write_text(QUEUES)
    assert states[-1] == "ready" and states[0] != "ready"
    assert answers and {*answers} == {"copy"}
    after = {name: each.pid for name, each in services.children().items()}
    assert {*after} == {*NAMES, "llm-2"}
    assert {n for n in NAMES if before[n] != after[n]} == {"llm-1"}
    *_, last = supervision.restart("llm")
    assert {*services.children()} == NAMES and last.queue and len(last.queue.workers) == 1


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ("llm: {num_workers: none}", r"llm\.num_workers is 'none'; allowed: a whole number"),
        ("llm: {front_end: {protocol: tcp}}", "the addresses of llm have changed"),
        ("llm: {enabled: false}", "no service 'llm' runs here"),
    ],
)
def test_nothing_is_stopped_for_a_configuration_that_cannot_be_used(
    services: Up, supervision: Supervision, configuration: str, said: str
) -> None:
    before = {name: each.pid for name, each in services.children().items()}
    (services.home / "ragq.yml").write_text(f"{QUEUES}{configuration}\n")
    try:
        with pytest.raises(InputError, match=said):
            supervision.restart("llm")
    finally:
        (services.home / "ragq.yml").write_text(QUEUES)
    assert {name: each.pid for name, each in services.children().items()} == before


def test_a_service_that_is_not_there_cannot_be_restarted(supervision: Supervision) -> None:
    with pytest.raises(NotFound, match="no service 'api' runs here; there are: llm, index, tuning"):
        supervision.restart("api")


@pytest.mark.parametrize("how", ["down", "SIGINT", "SIGTERM", "SIGHUP"])
def test_the_end_leaves_no_process_no_port_and_no_file(up: Start, home: Path, how: str) -> None:
    port = free_port()
    told = f"{QUEUES}llm: {{front_end: {{protocol: tcp, port: {port}}}}}\n"
    running = up("--only", "llm,tuning", configuration=told).ready()
    children = [*running.children().values()]
    assert len(children) == 4
    assert running.asks() == "copy"
    if how == "down":
        ended = run(home, "down")
        assert (ended.returncode, ended.stdout) == (0, "everything is stopped\n"), ended.stderr
        assert running.process.wait(5) == 0
    else:
        assert running.stop(getattr(signal, how)) == 0
    assert psutil.wait_procs(children, timeout=0)[1] == []
    assert [path.name for path in (home / "run").iterdir()] == ["up.lock"]
    ports.check_free("llm.front_end.port", "127.0.0.1", port)
    assert [*running.temporary.iterdir()] == []
    assert "Traceback" not in running.text


@pytest.mark.slow
def test_workers_stop_before_the_routers_whose_requests_they_finish(up: Start) -> None:
    running = up("--only", "llm,tuning").ready()
    children = running.children()
    ends: list[str] = []
    watching = [
        threading.Thread(target=lambda n=name, p=each: (p.wait(), ends.append(n)))
        for name, each in children.items()
    ]
    for thread in watching:
        thread.start()
    running.stop()
    for thread in watching:
        thread.join(10)
    assert {*ends[:2]} == {"llm-1", "tuning-1"}


@pytest.mark.slow
def test_nothing_outlives_a_supervisor_that_is_killed(up: Start, home: Path) -> None:
    running = up("--only", "llm,index").ready()
    children = [*running.children().values()]
    running.process.kill()
    assert psutil.wait_procs(children, timeout=30)[1] == []
    said = run(home, "status")
    assert (said.returncode, said.stdout) == (
        3,
        f"nothing runs on {home}; start it with rwkv-rag up\n",
    )
    again = up("--only", "llm").ready()
    assert again.asks() == "copy"


@pytest.mark.slow
def test_a_process_that_cannot_work_is_given_up_and_the_others_go_on(up: Start, home: Path) -> None:
    (home / "model.safetensors").mkdir()
    running = up("--model", str(home / "model.safetensors"), "--only", "llm,tuning").ready()
    status = running.status()
    assert (status["llm"].state, status["tuning"].state) == ("failed", "ready")
    assert str(status["llm"].reason).startswith(
        "llm-1: model.safetensors: not a file but a directory"
    )
    assert status["llm"].restarts == 0
    assert "llm-1: failed (" in running.text


@pytest.mark.slow
def test_up_itself_fails_where_nothing_could_be_started(home: Path) -> None:
    (home / "model.safetensors").mkdir()
    (home / "ragq.yml").write_text("")
    ended = run(home, "up", "--only", "llm", "--model", str(home / "model.safetensors"))
    assert ended.returncode == 1
    assert "llm-1: failed (model.safetensors: not a file but a directory" in ended.stderr


def test_a_second_interrupt_waits_for_nobody(up: Start, home: Path) -> None:
    running = up("--only", "tuning").ready()
    children = [*running.children().values()]
    running.children()["tuning-1"].suspend()  # it will not end by itself
    running.process.send_signal(signal.SIGINT)
    eventually(lambda: "a second Ctrl-C stops at once" in running.text)
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 5
    assert psutil.wait_procs(children, timeout=0)[1] == []
    assert [path.name for path in (home / "run").iterdir()] == ["up.lock"]


def test_a_home_with_a_long_path_works_and_leaves_nothing_either(home: Path) -> None:
    long = home / ("x" * 120)
    long.mkdir()
    running = Up(long, "--only", "llm", temporary=home / "tmp")
    try:
        assert running.ready().asks() == "copy"
        assert Path(running.running.sockets).parent == home / "tmp"
        assert running.stop() == 0
    finally:
        running.clean()
    assert [*running.temporary.iterdir()] == []
