"""One process: kept, given up, stopped, killed; and what it writes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rwkv_rag.errors import Message
from rwkv_rag.processes.keeper import Keeper, Patience
from rwkv_rag.processes.orders import ProgramOrder

from .upping import eventually

QUICK = Patience(ready_s=20, stop_s=3, first_wait_s=0.01, quick_deaths=3)
SLEEPS = "import time\nwhile True: time.sleep(60)\n"
Keep = Callable[..., Keeper]


@pytest.fixture
def said() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def keep(tmp_path: Path, said: list[tuple[str, Message]]) -> Iterator[Keep]:
    """Keeps a program with the given text running."""
    kept: list[Keeper] = []

    def start(program: str, *, ready: bool = True, patience: Patience = QUICK) -> Keeper:
        (tmp_path / "program_of_a_test.py").write_text(program)
        keeper = Keeper(
            "it",
            ProgramOrder("program_of_a_test"),
            lambda _: ready,
            say=lambda name, line: said.append((name, line)),
            environment={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"},
            patience=patience,
        )
        kept.append(keeper)
        keeper.start()
        return keeper

    yield start
    for keeper in kept:
        keeper.kill()
        keeper.end(5)


def test_what_dies_quickly_again_and_again_is_given_up_with_its_last_words(keep: Keep) -> None:
    keeper = keep("import sys\nprint('out of luck')\nsys.exit(7)")
    eventually(lambda: keeper.state == "failed")
    assert (keeper.restarts, str(keeper.reason)) == (2, "out of luck")


def test_what_the_user_must_mend_is_not_tried_again(keep: Keep) -> None:
    keeper = keep("import sys\nsys.stderr.write('no such model')\nsys.exit(2)", ready=False)
    eventually(lambda: keeper.state == "failed")
    assert (keeper.restarts, str(keeper.reason)) == (0, "no such model")


def test_what_was_killed_comes_back(keep: Keep) -> None:
    keeper = keep(SLEEPS)
    first = eventually(lambda: keeper.state == "ready" and keeper.pid)
    psutil.Process(first).kill()
    eventually(lambda: keeper.restarts == 1 and keeper.state == "ready")
    assert keeper.pid != first


def test_the_waits_between_tries_grow(keep: Keep) -> None:
    slow = Patience(ready_s=20, first_wait_s=0.3, quick_deaths=3)
    began = time.monotonic()
    keeper = keep("import sys\nsys.exit(1)", ready=False, patience=slow)
    eventually(lambda: keeper.state == "failed")
    assert time.monotonic() - began > 0.3 + 0.6


def test_what_is_never_ready_is_started_again(keep: Keep) -> None:
    impatient = Patience(ready_s=0.2, first_wait_s=0.01, quick_deaths=2)
    keeper = keep(SLEEPS, ready=False, patience=impatient)
    eventually(lambda: keeper.state == "failed")
    assert keeper.restarts == 1


def test_what_is_asked_to_end_is_interrupted_and_may_clean_up(keep: Keep, tmp_path: Path) -> None:
    mark = tmp_path / "cleaned"
    program = f"try:\n  while True: __import__('time').sleep(60)\nfinally: open({str(mark)!r}, 'w')"
    keeper = keep(program)
    pid = eventually(lambda: keeper.state == "ready" and keeper.pid)
    time.sleep(0.5)  # it says nothing of when its own code begins
    keeper.end()
    assert mark.exists() and keeper.state == "stopped" and not psutil.pid_exists(pid)


def test_what_does_not_end_is_killed(keep: Keep, said: list[tuple[str, Message]]) -> None:
    program = (
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf')\n" + SLEEPS
    )
    keeper = keep(program)
    eventually(lambda: said)
    pid = keeper.pid
    began = time.monotonic()
    keeper.end(0.5)
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
