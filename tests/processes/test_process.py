"""One process: kept, given up, stopped, killed; and what it writes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rwkv_rag.errors import Message, NotFound
from rwkv_rag.processes import specs
from rwkv_rag.processes.process import ManagedProcess, RestartPolicy
from rwkv_rag.processes.specs import ProcessPlan, ProgramSpec

from .running import eventually, python_path

QUICK = RestartPolicy(ready_s=20, stop_s=3, first_delay_s=0.01, max_failures=3)
SLEEPS = "import time\nwhile True: time.sleep(60)\n"
Keep = Callable[..., ManagedProcess]


@pytest.fixture
def said() -> list[tuple[str, Message]]:
    return []


@pytest.fixture
def keep(tmp_path: Path, said: list[tuple[str, Message]]) -> Iterator[Keep]:
    """Keeps a program with the given text running."""
    kept: list[ManagedProcess] = []

    def start(program: str, *, ready: bool = True, policy: RestartPolicy = QUICK) -> ManagedProcess:
        (tmp_path / "program_of_a_test.py").write_text(program)
        path = python_path(tmp_path)
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        process = ManagedProcess(
            ProcessPlan("it", ProgramSpec("program_of_a_test"), environment),
            lambda _: ready,
            lambda name, line: said.append((name, line)),
            lambda _: None,
            policy,
        )
        kept.append(process)
        process.start()
        return process

    yield start
    for process in kept:
        process.kill()
        process.stop(5)


def test_what_dies_quickly_again_and_again_is_given_up_with_its_last_words(keep: Keep) -> None:
    process = keep("import sys\nprint('out of luck')\nsys.exit(7)")
    eventually(lambda: process.state == "failed")
    assert (process.restarts, str(process.reason)) == (2, "out of luck")


def test_what_the_user_must_mend_is_not_tried_again(keep: Keep) -> None:
    process = keep("import sys\nsys.stderr.write('no such model')\nsys.exit(2)", ready=False)
    eventually(lambda: process.state == "failed")
    assert (process.restarts, str(process.reason)) == (0, "no such model")


def test_an_error_of_ours_arrives_as_a_message_that_can_be_translated(
    keep: Keep, said: list[tuple[str, Message]]
) -> None:
    """A worker that cannot work says why in a line that keeps template and values apart."""
    program = "from rwkv_rag.errors import NotFound\nraise NotFound('no model {name}', name='x{}')"
    process = keep(program, ready=False)
    eventually(lambda: process.state == "failed")
    assert process.reason == Message("no model {name}", {"name": "x{}"})
    assert said == [("it", process.reason)] and process.restarts == 0


@pytest.mark.parametrize(
    "line",
    [
        b'{"error":',
        b'{"error": 7}\n',
        b'{"error": {}}',
        b'{"error": {"template": "{x.y}", "values": {"x": 1}}}',
        b"x",
    ],
)
def test_a_line_that_only_begins_like_an_error_is_text(line: bytes) -> None:
    assert specs.decode_error(line) is None


def test_an_error_too_long_for_a_line_is_sent_as_text() -> None:
    error = NotFound("no model {name}", name="x" * 3000)
    assert specs.encode_error(error).startswith(b"no model xxx")


def test_what_was_killed_comes_back(keep: Keep) -> None:
    process = keep(SLEEPS)
    first = eventually(lambda: process.state == "ready" and process.pid)
    psutil.Process(first).kill()
    eventually(lambda: process.restarts == 1 and process.state == "ready")
    assert process.pid != first


def test_the_waits_between_tries_grow(keep: Keep) -> None:
    slow = RestartPolicy(ready_s=20, first_delay_s=0.1, max_failures=3)
    began = time.monotonic()
    process = keep("import sys\nsys.exit(1)", ready=False, policy=slow)
    eventually(lambda: process.state == "failed")
    assert time.monotonic() - began > 0.1 + 0.2


def test_what_is_never_ready_is_started_again(keep: Keep) -> None:
    impatient = RestartPolicy(ready_s=0.2, first_delay_s=0.01, max_failures=2)
    process = keep(SLEEPS, ready=False, policy=impatient)
    eventually(lambda: process.state == "failed")
    assert process.restarts == 1
    assert process.reason == Message("not ready after {seconds:.0f} s", {"seconds": 0.2})


def test_what_is_asked_to_end_is_interrupted_and_may_clean_up(keep: Keep, tmp_path: Path) -> None:
    mark = tmp_path / "cleaned"
    program = f"try:\n  while True: __import__('time').sleep(60)\nfinally: open({str(mark)!r}, 'w')"
    process = keep(program)
    pid = eventually(lambda: process.state == "ready" and process.pid)
    time.sleep(0.5)  # it says nothing of when its own code begins
    process.stop()
    assert mark.exists() and process.state == "stopped" and not psutil.pid_exists(pid)


def test_what_does_not_end_is_killed(keep: Keep, said: list[tuple[str, Message]]) -> None:
    program = (
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf')\n" + SLEEPS
    )
    process = keep(program)
    eventually(lambda: said)
    pid = process.pid
    began = time.monotonic()
    process.stop(0.5)
    assert pid and not psutil.pid_exists(pid)
    assert time.monotonic() - began < 5


def test_what_a_process_writes_is_lines_without_control_characters_and_of_bounded_length(
    keep: Keep, said: list[tuple[str, Message]]
) -> None:
    keep("print('a\\x1b[31mb\\x07')\nprint('x' * 9000)\nprint('中文')\nimport time\ntime.sleep(60)")
    eventually(lambda: ("it", Message("中文")) in said)
    lines = [str(line) for _, line in said]
    assert lines[0] == "a [31mb"
    assert max(map(len, lines)) <= 2000 and sum(line.count("x") for line in lines) == 9000
