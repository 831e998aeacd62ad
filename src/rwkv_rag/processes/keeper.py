"""Keeps one process running: started, asked until it answers, restarted when it dies, stopped.

A thread of its own does one after another and otherwise waits in the kernel: what is ready costs
nothing. What the process writes is handed on line by line. Knows no role of a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from rwkv_rag.errors import Message, message
from rwkv_rag.processes.orders import Order, received_error, to_line
from rwkv_rag.types import ServiceState

Say = Callable[[str, Message], None]
"""Takes the name of a process and a line it wrote."""

ASK_S = 0.05  # between two questions whether it is ready
LINE_CHARACTERS = 2000
LAST_WORDS_S = 1.0  # until what a dead process wrote is read, should a child of its have the pipe
USER_ERROR = 2  # the exit code of what cannot work before the user changes something


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, and when to give up."""

    ready_s: float = 600.0  # a large model from a slow disk
    stop_s: float = 20.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    quick_s: float = 10.0
    quick_deaths: int = 5


class Keeper:
    """One process of `order`, named `name`. `ready(pid)` asks it once whether it is.

    `changed` is called, from this keeper's thread, after every change of `state`.
    """

    def __init__(
        self,
        name: str,
        order: Order,
        ready: Callable[[int], bool],
        *,
        say: Say,
        environment: Mapping[str, str],
        changed: Callable[[Keeper], None] = lambda _: None,
        patience: Patience | None = None,
    ) -> None:
        self.name, self.order = name, order
        self.state: ServiceState = "starting"
        self.restarts = 0
        self.reason: Message | None = None
        self._ready, self._say, self._changed = ready, say, changed
        self._environment = environment
        self._patience = patience or Patience()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # between starting a process and stopping it
        self._ending = threading.Event()
        self._last: deque[Message] = deque(maxlen=5)
        self._thread = threading.Thread(target=self._keep, name=f"keep {name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process that runs now, if one does."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self) -> None:
        self._thread.start()

    def ask_to_end(self) -> None:
        """Have the process finish what it does and end; returns at once."""
        self._ending.set()
        self._close_stdin()

    def end(self, within_s: float | None = None) -> None:
        """`ask_to_end`, and wait; a process that does not end in time is killed."""
        self.ask_to_end()
        self._join(self._patience.stop_s if within_s is None else within_s)
        if self._thread.is_alive():
            self.kill()
            self._join(5.0)

    def kill(self) -> None:
        """End the process this moment."""
        self._ending.set()
        with self._lock:
            if self._process:
                with suppress(OSError):
                    self._process.kill()

    def _close_stdin(self) -> None:
        with self._lock:
            if self._process and self._process.stdin:
                with suppress(OSError):  # it is gone, and read less than it was told
                    self._process.stdin.close()

    def _join(self, timeout_s: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    # the keeper's thread

    def _keep(self) -> None:
        deaths = 0
        while (born := self._spawn()) is not None:
            process, began = born, time.monotonic()
            if not self._wait_ready(process):
                process.kill()
            code = process.wait()
            self._close_stdin()
            self._reader.join(LAST_WORDS_S)
            if self._ending.is_set():
                break
            deaths = deaths + 1 if time.monotonic() - began < self._patience.quick_s else 1
            self.reason = self._why(code)
            if code == USER_ERROR or deaths >= self._patience.quick_deaths:
                return self._become("failed")
            self.restarts += 1
            self._become("restarting")
            wait_s = self._patience.first_wait_s * 2 ** (deaths - 1)
            self._ending.wait(min(wait_s, self._patience.longest_wait_s))
        self._become("stopped")

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._ending.is_set():
                return None
            process = subprocess.Popen(
                [sys.executable, "-m", "rwkv_rag.processes", self.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(self._environment),
                start_new_session=os.name == "posix",  # Ctrl-C is for the supervisor alone
            )
            self._process = process
            assert process.stdin and process.stdout
            self._reader = threading.Thread(
                target=self._forward, args=(process.stdout,), name=f"log {self.name}", daemon=True
            )
            self._reader.start()
            with suppress(OSError):  # died already; `wait` will tell
                process.stdin.write(to_line(self.order))
                process.stdin.flush()
        return process

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Ask until it is ready or has ended; False where it takes too long."""
        deadline = time.monotonic() + self._patience.ready_s
        while process.poll() is None and not self._ending.is_set():
            if self._ready(process.pid):
                self.reason = None
                self._become("ready")
                return True
            if time.monotonic() > deadline:
                self._last.append(
                    message("not ready after {seconds:.0f} s", seconds=self._patience.ready_s)
                )
                return False
            self._ending.wait(ASK_S)
        return True

    def _forward(self, stream: IO[bytes]) -> None:
        """Hand on what the process writes, until it has written its last."""
        with stream:
            while line := stream.readline(LINE_CHARACTERS):
                text = "".join(
                    each if each.isprintable() else " " for each in line.decode("utf-8", "replace")
                ).rstrip()
                if text:
                    said = received_error(text) or Message(text)
                    self._last.append(said)
                    self._say(self.name, said)

    def _why(self, code: int) -> Message:
        """The last line it wrote, or what ended it."""
        if code < 0:
            return message("killed by signal {signal}", signal=-code)
        return self._last[-1] if self._last else message("exit code {code}", code=code)

    def _become(self, state: ServiceState) -> None:
        self.state = state
        self._changed(self)


def end(keepers: Sequence[Keeper], within_s: float | None = None) -> None:
    """End all; they are asked first, so that they finish side by side."""
    for keeper in keepers:
        keeper.ask_to_end()
    for keeper in keepers:
        keeper.end(within_s)
