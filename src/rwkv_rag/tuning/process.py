"""What a job's process does around the training: locks, turn, signals, and how it ended.

Knows no network. Whatever ends it, the ledger says why, or the freed lock says that it was killed.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rwkv_rag.errors import Message, RagError, TuningFailed
from rwkv_rag.rwkv.tuned import TunedStore
from rwkv_rag.tuning.jobs import JobFolder, held, remove_working_files
from rwkv_rag.tuning.ledger import Ledger, Progress, told
from rwkv_rag.types import JobStatus, TuneSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from rwkv_rag.tuning.run import Order
    from rwkv_rag.tuning.tracking import Record, Sink

LOOK_S = 0.5  # between two looks at the stop file
LOCK_S = 10.0  # those who only look whether it is held hold it a moment
log = logging.getLogger("rwkv_rag.tuning")


class JobWatch:
    """Follows the training for the ledger, the log and Weights & Biases; tells it when to stop."""

    def __init__(self, folder: JobFolder, ledger: Ledger) -> None:
        self._folder, self._ledger = folder, ledger
        self._asked, self._looked = False, 0.0
        self._last: Record = {}
        self._ending: list[Callable[[dict[str, Any]], None]] = []
        self.sinks: list[Sink] = [Progress(ledger, folder.id), self]
        self.values: dict[str, Any] = {}

    def log(self, record: Record) -> None:
        self._last = record

    def tell(self, **values: Any) -> None:
        self.values.update(values)
        self._ledger.tell(self._folder.id, **values)

    def note(self, line: str) -> None:
        log.info(line)

    def stop(self) -> bool:
        now = time.monotonic()
        if not self._asked and now - self._looked > LOOK_S:
            self._looked, self._asked = now, self._folder.stop.exists()
        return self._asked

    def asked(self, *_: object) -> None:
        """What a signal to end does."""
        self._asked = True

    def track(self, settings: TuneSettings) -> None:
        """Send the figures to Weights & Biases as well, if the user wants."""
        if settings.wandb == "off":
            return
        from dataclasses import asdict

        from rwkv_rag.tuning.tracking import WandbSink

        sink = WandbSink(
            self._folder.path,
            mode=settings.wandb,
            project=settings.wandb_project,
            name=f"{settings.name}-{self._folder.id}",
            config={**asdict(settings), "data": str(settings.data)},
        )
        self.sinks.append(sink)
        self._ending.append(sink.close)

    def end(self, status: JobStatus, reason: Message | None = None) -> None:
        """Say how it ended; the last step's figures may not have been told yet."""
        for ending in self._ending:
            ending({**self.values, "status": status})
        last = told(self._last) if self._last else {}
        last.update(status=status, reason=reason, eta_s=None)
        self._ledger.tell(self._folder.id, **last)


def run(path: Path) -> int:
    """Run the job of a folder to its end; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stdout)
    folder = JobFolder(path)
    settings, _ = folder.read()
    fabric = None
    if settings.devices * settings.nodes > 1:
        from rwkv_rag.tuning.devices import is_first, open_fabric

        fabric = open_fabric(settings)
        if not is_first(fabric):
            return _follow(folder, fabric)
    return _lead(folder, fabric)


def _lead(folder: JobFolder, fabric: Fabric | None) -> int:
    """The first process of a job, most often the only one."""
    running = folder.running()
    if not running.acquire(timeout_s=LOCK_S):
        log.error("this job runs already")
        return 1
    watch = JobWatch(folder, Ledger(folder.home))
    signal.signal(signal.SIGTERM, watch.asked)
    try:
        return _led(folder, fabric, watch)
    finally:
        running.release()  # the interpreter may take seconds to end


def _led(folder: JobFolder, fabric: Fabric | None, watch: JobWatch) -> int:
    """Train, and say how it ended."""
    try:
        status: JobStatus = "done" if _train(folder, fabric, watch) else "stopped"
    except RagError as error:
        log.error("%s", error)
        with suppress(
            RagError
        ):  # a full disk takes no last word; the log has it, or the freed lock
            watch.end("failed", error.message)
        return 2
    except Exception as error:
        log.exception("the job failed")
        watch.end("failed", _explained(error).message)
        return 1
    watch.end(status)
    if status == "done":
        remove_working_files(folder)
    log.info("%s", status)
    return 0


def _train(folder: JobFolder, fabric: Fabric | None, watch: JobWatch) -> bool:
    """Wait for the turn, prepare, train; False where it was stopped."""
    turn = folder.turn()
    while not turn.acquire(timeout_s=LOOK_S):
        if watch.stop():
            return False
    try:
        return _in_turn(folder, fabric, watch)
    finally:
        turn.release()


def _in_turn(folder: JobFolder, fabric: Fabric | None, watch: JobWatch) -> bool:
    watch.tell(status="running")
    from rwkv_rag.tuning.allocator import keep_freed_memory
    from rwkv_rag.tuning.devices import open_fabric
    from rwkv_rag.tuning.run import Stopped, prepare_rows, tune

    keep_freed_memory()
    order = ordered(folder)
    try:
        prepare_rows(order, watch)
    except Stopped:
        return False
    watch.track(order.settings)
    fabric = fabric or open_fabric(order.settings)
    with _ending_anyhow(watch.stop, lambda: watch.end("stopped")):
        fabric.launch()
    return tune(order, fabric, watch) is not None


@contextmanager
def _ending_anyhow(wanted: Callable[[], bool], end: Callable[[], None]) -> Iterator[None]:
    """End the process when `wanted`, or asked to by a signal, though the block does not look.

    Waiting for other processes happens outside Python, where no signal's handler is called.
    """
    over = threading.Event()
    here, there = socket.socketpair()
    there.setblocking(False)
    before = signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)

    def look() -> None:
        while not over.is_set():
            told = select.select([here], [], [], LOOK_S)[0] and here.recv(64)
            if not over.is_set() and (wanted() or (told and signal.SIGTERM in told)):
                end()
                os._exit(0)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        there.send(b"\0")  # it need not wait for its next look
        signal.set_wakeup_fd(before)
        looking.join()
        here.close()
        there.close()


def _follow(folder: JobFolder, fabric: Fabric) -> int:
    """A further process of a job on several devices; the first one speaks for it."""
    from rwkv_rag.tuning.run import ROWS, tune

    def left_alone() -> bool:
        return not held(folder.running())

    while not (folder.path / ROWS).exists():
        if left_alone():
            log.error("the first process of this job does not run")
            return 1
        time.sleep(LOOK_S)
    with _ending_anyhow(left_alone, lambda: None):
        fabric.launch()
        tune(ordered(folder), fabric, _Silent(folder))
    return 0


class _Silent:
    """Watches nothing: the first process does."""

    def __init__(self, folder: JobFolder) -> None:
        self._folder = folder
        self.sinks: list[Sink] = []

    def tell(self, **values: Any) -> None:
        """Said by the first process."""

    def note(self, line: str) -> None:
        """Said by the first process."""

    def stop(self) -> bool:
        return False


def ordered(folder: JobFolder) -> Order:
    """The job's order, read from its folder."""
    from rwkv_rag.tuning.run import Order

    settings, base = folder.read()
    return Order(settings, base, folder.path, TunedStore(folder.home))


def _explained(error: Exception) -> TuningFailed:
    """Our words for what nobody foresaw; the log has the rest."""
    said = " ".join(str(error).split())[:200]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return TuningFailed(
            "there was not enough memory ({said}); choose a smaller batch, a shorter "
            "context or checkpointing, and start again",
            said=said,
        )
    return TuningFailed(
        "an unexpected error ({name}: {said}); the log says more",
        name=type(error).__name__,
        said=said,
    )
