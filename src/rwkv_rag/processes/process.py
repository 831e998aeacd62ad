"""One child process, supervised: started, polled until ready, restarted when it dies, stopped.

A thread of its own does one after another and otherwise waits in the kernel: a process that is
ready costs nothing. Its output is passed on line by line. Knows no role of a process.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.errors import Message, RagError, message
from rwkv_rag.processes import specs
from rwkv_rag.processes.child import USER_ERROR
from rwkv_rag.processes.specs import ProcessPlan
from rwkv_rag.types import QueueStatus, ServiceState

Output = Callable[[str, Message], None]
"""Takes the name of a process and a line it wrote."""
Ready = Callable[[int], bool]
"""Whether the process with this id is ready now; does not wait."""

POLL_S = 0.05  # between two checks whether it is ready
LAST_OUTPUT_S = 1.0  # to read what a dead process wrote, should a child of its hold the pipe open
HTTP_S = 2.0


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long things may take, and when to give up.

    first_delay_s, max_delay_s      before a restart; doubled with each
    short_life_s, max_failures      a process that dies so soon so often is given up
    """

    ready_s: float = 600.0  # a large model from a slow disk
    stop_s: float = 20.0
    first_delay_s: float = 0.5
    max_delay_s: float = 30.0
    short_life_s: float = 10.0
    max_failures: int = 5


class ManagedProcess:
    """The process of `plan`. `changed` is called, from this object's thread, after every change of
    `state`."""

    def __init__(
        self,
        plan: ProcessPlan,
        ready: Ready,
        output: Output,
        changed: Callable[[ManagedProcess], None],
        policy: RestartPolicy | None = None,
    ) -> None:
        self.name, self._plan = plan.name, plan
        self.state: ServiceState = "starting"
        self.restarts = 0
        self.reason: Message | None = None
        self._ready, self._output, self._changed = ready, output, changed
        self._policy = policy or RestartPolicy()
        self._process: subprocess.Popen[bytes] | None = None
        self._last_line: Message | None = None
        self._lock = threading.Lock()  # held to start the process, and to stop it
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    @property
    def pid(self) -> int | None:
        """The id of the process if it runs now."""
        process = self._process
        return process.pid if process and process.poll() is None else None

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Let the process finish its requests and end; returns at once."""
        self._stopping.set()
        self._close_stdin()

    def stop(self, timeout_s: float | None = None) -> None:
        """`ask_to_stop`, and wait; a process that does not end in time is killed."""
        self.ask_to_stop()
        self._join(self._policy.stop_s if timeout_s is None else timeout_s)
        if self._thread.is_alive():
            self.kill()
            self._join(5.0)

    def kill(self) -> None:
        """End the process at once."""
        self._stopping.set()
        with self._lock:
            if self._process:
                with suppress(OSError):
                    self._process.kill()

    def _close_stdin(self) -> None:
        with self._lock:
            if self._process and self._process.stdin:
                with suppress(OSError):  # it ended before it read its spec
                    self._process.stdin.close()

    def _join(self, timeout_s: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    # in the thread

    def _run(self) -> None:
        failures = 0
        while process := self._spawn():
            started = time.monotonic()
            in_time = self._wait_ready(process)
            if not in_time:
                process.kill()
            code = process.wait()
            self._close_stdin()
            self._reader.join(LAST_OUTPUT_S)
            if self._stopping.is_set():
                break
            short_life = time.monotonic() - started < self._policy.short_life_s
            failures = failures + 1 if short_life else 1
            self.reason = self._reason(code) if in_time else self._not_ready()
            if code == USER_ERROR or failures >= self._policy.max_failures:
                return self._become("failed")
            self.restarts += 1
            self._become("restarting")
            delay_s = self._policy.first_delay_s * 2 ** (failures - 1)
            self._stopping.wait(min(delay_s, self._policy.max_delay_s))
        self._become("stopped")

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        """A new process; None once it is to stop."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "rwkv_rag.processes", self.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(self._plan.environment),
                start_new_session=os.name == "posix",  # Ctrl-C is for the supervisor alone
            )
            assert process.stdin and process.stdout
            self._reader = threading.Thread(
                target=self._read, args=(process.stdout,), name=f"{self.name} output", daemon=True
            )
            self._reader.start()
            with suppress(OSError):  # it ended already, as `wait` will tell
                process.stdin.write(specs.encode(self._plan.spec))
                process.stdin.flush()
        return process

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Poll until it is ready or has ended; False where it takes too long."""
        deadline = time.monotonic() + self._policy.ready_s
        while process.poll() is None and not self._stopping.is_set():
            if self._ready(process.pid):
                self.reason = None
                self._become("ready")
                return True
            if time.monotonic() > deadline:
                return False
            self._stopping.wait(POLL_S)
        return True

    def _read(self, stream: IO[bytes]) -> None:
        """Pass on what the process writes, without control characters."""
        with stream:
            while data := stream.readline(specs.MAX_LINE_BYTES):
                characters = data.decode("utf-8", "replace")
                text = "".join(c if c.isprintable() else " " for c in characters).rstrip()
                if text:
                    self._last_line = specs.decode_error(data) or Message(text)
                    self._output(self.name, self._last_line)

    def _reason(self, code: int) -> Message:
        """What ended the process, or the last line it wrote."""
        if code < 0:
            return message("killed by signal {signal}", signal=-code)
        return self._last_line or message("exit code {code}", code=code)

    def _not_ready(self) -> Message:
        return message("not ready after {seconds:.0f} s", seconds=self._policy.ready_s)

    def _become(self, state: ServiceState) -> None:
        self.state = state
        self._changed(self)


def stop_all(processes: Iterable[ManagedProcess], timeout_s: float | None = None) -> None:
    """Stop all; they are asked first, so that they finish side by side."""
    processes = list(processes)
    for process in processes:
        process.ask_to_stop()
    for process in processes:
        process.stop(timeout_s)


def queue_status(queue: QueueClient) -> QueueStatus | None:
    """The state of a router's queue; None where it cannot be reached."""
    try:
        return queue.status()
    except RagError:
        return None


def routes(queue: QueueClient) -> Ready:
    """A router is ready when it tells the state of its queue."""
    return lambda _: queue_status(queue) is not None


def works(queue: QueueClient) -> Ready:
    """A worker is ready when its router knows it."""

    def ready(pid: int) -> bool:
        status = queue_status(queue)
        return status is not None and any(each.facts.get("pid") == pid for each in status.workers)

    return ready


def answers_http(host: str, port: int, path: str) -> Ready:
    """An HTTP server is ready when it answers with 200."""

    def ready(_: int) -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=HTTP_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return ready
