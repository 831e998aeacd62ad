"""The commands that run services, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rwkv_rag.cli.screen import Screen
from rwkv_rag.cli.up import ServiceOutput
from rwkv_rag.config import file
from rwkv_rag.config.ragq import Ragq
from rwkv_rag.errors import Message
from rwkv_rag.i18n import in_language

from ..processes.running import COMMAND, QUEUES, Up, environment, eventually, free_port, run
from .conftest import Cli, english_left


@pytest.fixture(scope="module")
def services() -> Iterator[Up]:
    """The llm and tuning services, whose workers may join over tcp."""
    port = free_port()
    told = f"{QUEUES}llm: {{back_end: {{protocol: tcp, port: {port}}}}}\nindex: {{enabled: false}}"
    with tempfile.TemporaryDirectory(prefix="rr-") as folder:
        running = Up(Path(folder), configuration=told)
        try:
            yield running.ready()
        finally:
            running.clean()


@pytest.fixture
def here(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Commands in an empty directory, where no ragq.yml is but the test's."""
    monkeypatch.chdir(tmp_path)
    return cli


def test_status_shows_queues_workers_and_memory(cli: Cli, services: Up) -> None:
    services.asks()
    ran = cli("status", "--home", services.home)
    assert ran.code == 0, ran.err
    for said in ("llm     ready", "tuning  ready", "p50", "MB", "llm-1: 0 of 16 at work"):
        assert said in ran.out, ran.out
    assert f"process {services.process.pid} runs them" in ran.out
    table = ran.out[: ran.out.index(" at ")].splitlines()
    assert max(map(len, table)) <= 80


def test_status_as_json_has_everything(cli: Cli, services: Up) -> None:
    services.asks()
    told = cli("status", "--json", "--home", services.home).json
    assert (told["running"], told["pid"]) == (True, services.process.pid)
    llm, tuning = told["services"]
    assert (llm["name"], llm["state"], tuning["name"]) == ("llm", "ready", "tuning")
    queue = llm["queue"]
    assert queue["served"] > 0 and queue["waiting"] == {"chat": 0, "normal": 0, "bulk": 0}
    assert queue["latency_s"]["p50"] > 0
    assert queue["workers"][0]["facts"]["model"] == "fake"
    assert queue["workers"][0]["facts"]["memory_bytes"] > 10_000_000


def test_status_speaks_chinese(cli: Cli, services: Up) -> None:
    said = cli("status", "--lang", "zh", "--home", services.home).out
    kept = ("llm", "tuning", "fake", "ipc", "tcp", "MB", "ms", str(services.home))
    for word in kept:
        said = said.replace(word, "")
    assert "就绪" in said and english_left(said) == []


def test_where_nothing_runs_that_is_what_is_said(here: Cli, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    ran = here("status")
    assert (ran.code, ran.out) == (3, f"nothing runs on {home}; start it with rwkv-rag up\n")
    ran = here("status", "--json")
    assert (ran.code, ran.json) == (3, {"running": False, "services": []})
    assert here("down").code == 0
    assert here("restart", "llm").code == 3
    assert "没有运行服务" in here("status", "--lang", "zh").out


def test_a_second_up_says_which_process_holds_the_home(cli: Cli, services: Up) -> None:
    ran = cli("up", "--home", services.home)
    assert ran.code == 2
    assert f"run already, in process {services.process.pid}; see rwkv-rag status" in ran.err
    assert services.asks() == "copy"


@pytest.mark.parametrize(
    ("option", "key"), [("--port", "ui.port"), ("--api-port", "api.port"), ("", "llm.front_end")]
)
def test_a_port_in_use_is_named_with_who_has_it(
    here: Cli, tmp_path: Path, option: str, key: str
) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ends = f"llm: {{front_end: {{protocol: tcp, port: {port}}}}}\n{QUEUES}"
        (tmp_path / "ragq.yml").write_text("" if option else ends)
        ran = here("up", "--no-browser", *([option, port] if option else []))
    assert ran.code == 2
    assert f"port {port} ({key}" in ran.err and f"(process {os.getpid()}); choose" in ran.err
    assert [path.name for path in (tmp_path / "home" / "run").iterdir()] == ["up.lock"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("llm: {num_workers: 0}", "llm.num_workers is 0; allowed: a whole number from 1 to 64"),
        ("llm: {front_end: {protocol: tcp, host: no.such.invalid}}", "knows no such host"),
        ("llm: {front_end: {protocol: tcp, host: 0.0.0.0}}", "there are no keys in"),
        ("llm:\n\t- x", "line 2 is not YAML"),
        (
            "{llm: {enabled: false}, index: {enabled: false}, tuning: {enabled: false}, "
            "api: {enabled: false}, ui: {enabled: false}}",
            "no service is enabled",
        ),
    ],
)
def test_nothing_starts_with_a_configuration_that_cannot_be_used(
    here: Cli, tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "ragq.yml").write_text(content)
    ran = here("up", "--no-browser")
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
    chinese = here("up", "--no-browser", "--lang", "zh").err
    assert "错误" in chinese and said not in chinese.replace("line 2 is not YAML", "")


@pytest.mark.parametrize(
    ("only", "said"),
    [("llm,king", "there is no service 'king'"), ("ui", "ui is not enabled; set ui.enabled")],
)
def test_only_what_there_is_can_be_chosen(here: Cli, tmp_path: Path, only: str, said: str) -> None:
    (tmp_path / "ragq.yml").write_text(QUEUES)
    ran = here("up", "--only", only)
    assert ran.code == 2 and said in ran.err


def test_config_prints_what_counts_and_can_be_used_again(here: Cli, tmp_path: Path) -> None:
    (tmp_path / "ragq.yml").write_text("llm: {num_workers: 3}\n")
    ran = here("config")
    assert ran.out.startswith(f"# {tmp_path}/ragq.yml\n") and "RWKV_RAG_MODEL" in ran.out
    again = tmp_path / "again.yml"
    again.write_text(ran.out, encoding="utf-8")
    assert file.read(again).llm.num_workers == 3
    told = here("config", "--json", "--config", again).json
    assert told["configuration"]["llm"]["num_workers"] == 3
    assert Ragq.model_validate(told["configuration"] | {"home": None}).llm.num_workers == 3


def test_a_worker_joins_over_tcp_and_leaves(services: Up) -> None:
    with tempfile.TemporaryDirectory(prefix="rr-") as elsewhere:
        away = Path(elsewhere)
        (away / "ragq.yml").write_text("")
        told = [line for line in services.text.splitlines() if "llm: clients at" in line]
        back = told[0].split("workers at ")[1]
        joined = subprocess.Popen(
            [*COMMAND, "worker", "llm", "--connect", back],
            env=environment(away),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

        def workers() -> list[str]:
            queue = services.status()["llm"].queue
            return [worker.name for worker in queue.workers] if queue else []

        assert joined.stdout
        with joined.stdout:
            eventually(lambda: len(workers()) == 2)
            assert any(name.startswith("llm-1@") for name in workers())
            assert services.asks() == "copy"
            joined.send_signal(signal.SIGINT)
            assert joined.wait(30) == 0
        eventually(lambda: workers() == ["llm-1"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("index", "--connect", "tcp://127.0.0.1:1"), "the knowledge bases belong to one process"),
        (("tuning", "--connect", "tcp://127.0.0.1:1"), "its jobs and their files stay"),
        (("king", "--connect", "tcp://127.0.0.1:1"), "there is no service 'king' to work for"),
        (("llm", "--connect", "10.0.0.7"), "the address '10.0.0.7' must be tcp://"),
        (("llm", "--connect", "tcp://10.0.0.7:1"), "needs keys"),
        (("llm", "--connect", "tcp://127.0.0.1:1", "--key", "/no/key"), "/no/key"),
    ],
)
def test_who_cannot_join_is_told_why(here: Cli, arguments: tuple[str, ...], said: str) -> None:
    ran = here("worker", *arguments)
    assert ran.code == 2 and said in ran.err and "Traceback" not in ran.err


def test_who_stops_is_told_which_fine_tunings_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with in_language("en"):
        ServiceOutput(Screen()).stopping(["4f1a"])
    assert "fine-tuning 4f1a goes on by itself; follow it with rwkv-rag tune show 4f1a" in (
        capsys.readouterr().err
    )


def test_other_threads_of_the_supervisor_speak_the_users_language(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with in_language("zh"):
        output = ServiceOutput(Screen())
    thread = threading.Thread(
        target=output.changed, args=("llm-1", "failed", Message("exit code 2"))
    )
    thread.start()
    thread.join()
    assert capsys.readouterr().err == "llm-1：失败（exit code 2），其他服务不受影响\n"


def test_a_line_of_a_process_has_its_name_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    ServiceOutput(Screen()).wrote("llm-1", Message("listening\x1b[2J"))
    assert capsys.readouterr().err == "llm-1        | listening[2J\n"


@pytest.mark.slow
def test_the_api_and_the_pages_answer_at_the_urls_that_are_printed() -> None:
    with tempfile.TemporaryDirectory(prefix="rr-") as folder:
        told = f"api: {{port: {free_port()}}}\nui: {{port: {free_port()}}}\n"
        running = Up(Path(folder), configuration=told).ready()
        try:
            children = [*running.children().values()]
            assert f"pages: {running.running.ui}" in running.text
            assert f"HTTP API: {running.running.api}" in running.text
            for url in (f"{running.running.ui}/_stcore/health", f"{running.running.api}/ready"):
                with urllib.request.urlopen(url, timeout=20) as answer:
                    assert answer.status == 200
            with urllib.request.urlopen(f"{running.running.api}/ready") as answer:
                assert json.load(answer)["ready"] is True
            assert running.stop() == 0
            assert not any(each.is_running() for each in children)
            assert "Traceback" not in running.text
        finally:
            running.clean()


@pytest.mark.slow
def test_services_that_listen_everywhere_serve_whoever_has_a_key() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="rr-") as first,
        tempfile.TemporaryDirectory(prefix="rr-") as second,
    ):
        home, away, port = Path(first), Path(second), free_port()
        open_ends = f"front_end: {{protocol: tcp, host: 0.0.0.0, port: {port}}}"
        other_ends = f"front_end: {{protocol: tcp, host: '*', port: {free_port()}}}"
        told = (
            f"llm: {{{open_ends}}}\nindex: {{{other_ends}}}\ntuning: {{enabled: false}}\n{QUEUES}"
        )
        for each in (home, away):
            (each / "ragq.yml").write_text("")
        key = away / "my.key"
        assert run(home, "keys", "add", "laptop", "--out", str(key)).returncode == 0
        (away / "garden.txt").write_text("The garden opens at six.\n")
        running = Up(home, configuration=told)
        try:
            running.ready()
            there = ("--connect", f"tcp://127.0.0.1:{port}", "--key", str(key))
            for place, how in ((away, there), (home, ())):
                file = str(away / "garden.txt")
                ran = run(place, "index", file, "--kb", f"from-{len(how)}", *how)
                assert ran.returncode == 0, ran.stderr
            assert "from-0" in run(away, "kb", "list", *there).stdout
            without = run(away, "kb", "list", *there[:2])
            assert without.returncode == 2 and without.stderr.count("\n") == 1
            assert "keys" in without.stderr
        finally:
            running.clean()
