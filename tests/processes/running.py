"""A `rwkv-rag up` in a process of its own, and what a test may ask of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.interfaces import Generator, Supervision
from rwkv_rag.run_directory import Running, read
from rwkv_rag.services.contracts import GENERATOR, SUPERVISION
from rwkv_rag.services.remote import remote
from rwkv_rag.types import ServiceStatus

PATIENCE_S = 40.0  # for what takes a second on a quiet machine
COMMAND = [sys.executable, "-c", "from rwkv_rag.cli import main; main()"]
QUEUES = "api: {enabled: false}\nui: {enabled: false}\n"


def eventually(true: Callable[[], Any], limit_s: float = PATIENCE_S) -> Any:
    """What `true` gives as soon as it gives something."""
    deadline = time.monotonic() + limit_s
    while not (value := true()):
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def python_path(folder: Path) -> str:
    """PYTHONPATH with `folder` first."""
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


class Up:
    """A `rwkv-rag up` in a process of its own."""

    def __init__(
        self, home: Path, *arguments: str, configuration: str = "", temporary: Path | None = None
    ) -> None:
        self.home = home
        self.temporary = temporary or home / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.log = home / "up.log"
        file = home / "ragq.yml"
        file.write_text(configuration or QUEUES)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "up", "--no-browser", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment(home), "TMPDIR": str(self.temporary)},
                start_new_session=True,  # signals of a test reach it alone
            )

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ready(self) -> Up:
        """Wait until everything that is to run does."""
        eventually(lambda: "ready; Ctrl-C" in self.text or self.process.poll() is not None)
        assert self.process.poll() is None, self.text
        return self

    @property
    def running(self) -> Running:
        found = read(self.home)
        assert found is not None
        return found

    def children(self) -> dict[str, psutil.Process]:
        """The processes it runs, by name."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return {each.cmdline()[-1]: each for each in found if each.is_running()}

    def status(self) -> dict[str, ServiceStatus]:
        with closing(QueueClient(self.running.control)) as transport:
            supervision: Supervision = remote(SUPERVISION, transport)
            return {each.name: each for each in supervision.status()}

    def asks(self) -> str:
        """Ask the llm service something, and give its answer."""
        with closing(QueueClient(self.running.services["llm"])) as transport:
            generator: Generator = remote(GENERATOR, transport)
            return generator.name

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def clean(self) -> None:
        """End all of it, whatever became of it."""
        with suppress(psutil.Error):
            for each in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    each.kill()
        self.process.kill()
        self.process.wait()


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RWKV_RAG_")}
    for name in ("LC_ALL", "LC_MESSAGES"):
        kept.pop(name, None)
    own = {"RWKV_RAG_HOME": str(home), "RWKV_RAG_CONFIG": str(home / "ragq.yml")}
    return {**kept, **own, "RWKV_RAG_MODEL": "fake", "LANG": "C.UTF-8", "COLUMNS": "200"}


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of ours, to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(home),
        check=False,
    )
