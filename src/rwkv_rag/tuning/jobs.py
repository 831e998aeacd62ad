"""Fine-tuning jobs: checked here, run each in a process of its own, followed through files.

    HOME/jobs/ID/order.json      what was asked for, with the files of the base
                 running.lock    held by the job's process: the only proof that it lives
                 stop            asks it to end
                 checkpoint.pt   what it goes on from
                 metrics.jsonl, log.txt
    HOME/jobs/turn.lock          held by the job that trains; the others wait

Loads torch only to check what is to be started.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rwkv_rag.config import sharing_cores
from rwkv_rag.errors import (
    AlreadyExists,
    CorruptData,
    InputError,
    Message,
    NotFound,
    RagError,
    TuningFailed,
    message,
    system_reason,
)
from rwkv_rag.knowledge.locks import FileLock
from rwkv_rag.rwkv.tuned import TunedStore
from rwkv_rag.tuning import settings as written
from rwkv_rag.tuning.ledger import Ledger, is_id
from rwkv_rag.tuning.settings import BaseFiles
from rwkv_rag.tuning.tracking import read_metrics
from rwkv_rag.types import TuneEstimate, TuneJob, TuneSettings

START_S = 60.0  # for a process to say that it lives, on a busy machine
LOG_BYTES = 1 << 20
PROBE_S = 0.06
ENDING_S = 5.0  # between a job's last word and its end
UNFINISHED = ("waiting", "running")


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def home(self) -> Path:
        return self.path.parent.parent

    @property
    def order(self) -> Path:
        return self.path / "order.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def stop(self) -> Path:
        return self.path / "stop"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    def running(self) -> FileLock:
        """Held as long as the job's process lives."""
        return FileLock(self.path / "running.lock")

    def starting(self) -> FileLock:
        """Held while a process is being started."""
        return FileLock(self.path / "starting.lock")

    def turn(self) -> FileLock:
        """Held by the one job of this home that trains."""
        return FileLock(self.path.parent / "turn.lock")

    def write(self, settings: TuneSettings, base: BaseFiles) -> None:
        """Write down what was asked for."""
        files = {"name": base.name, "model": str(base.model), "vocabulary": str(base.vocabulary)}
        value = {"settings": json.loads(written.to_json(settings)), "base": files}
        self.order.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")

    def read(self) -> tuple[TuneSettings, BaseFiles]:
        """What was asked for. CorruptData where it cannot be read."""
        try:
            value = json.loads(self.order.read_text(encoding="utf-8"))
            files = value["base"]
            base = BaseFiles(files["name"], Path(files["model"]), Path(files["vocabulary"]))
            return written.from_json(json.dumps(value["settings"])), base
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptData(
                "{order} cannot be read ({reason}); start a new job", order=self.order, reason=error
            ) from error


class Jobs:
    """The tuner of one home; `resolve` finds the files of a base by the name a user gave."""

    def __init__(self, home: Path, resolve: Callable[[str], BaseFiles]) -> None:
        self._home, self._resolve = home, resolve
        self._ledger, self._store = Ledger(home), TunedStore(home)

    def estimate(self, settings: TuneSettings) -> TuneEstimate:
        """What `settings` would need on this machine. Raises InputError for what cannot be run."""
        from rwkv_rag.tuning.checks import check_and_estimate

        return check_and_estimate(settings, self._resolve(settings.base), timed=True)[1]

    def start(self, settings: TuneSettings) -> TuneJob:
        """Check everything, then begin. Raises InputError where data, base or memory do not fit."""
        from rwkv_rag.tuning.checks import check_and_estimate
        from rwkv_rag.tuning.memory import require

        self._check_name(settings.name)
        base = self._resolve(settings.base)
        settings, estimate = check_and_estimate(settings, base)
        require(estimate)
        id = self._ledger.add(settings)
        folder = self._folder(id)
        try:
            with _writing(folder):
                folder.path.mkdir(parents=True)
                folder.write(settings, base)
        except InputError:
            self._ledger.remove(id)
            raise
        with _writing(folder):
            self._spawn(folder)
        return self.job(id)

    def jobs(self) -> list[TuneJob]:
        """All jobs, the newest first."""
        return [self._seen(job) for job in self._ledger.jobs()]

    def job(self, id: str) -> TuneJob:
        """The job whose id is or alone begins with `id`. Raises NotFound."""
        return self._seen(self._ledger.find(id))

    def stop(self, id: str) -> None:
        """Ask a job to write a checkpoint and end. Raises InputError where it does not run."""
        job = self.job(id)
        if job.status not in UNFINISHED:
            raise InputError("job {id} does not run: it is {status}", id=job.id, status=job.status)
        folder = self._folder(job.id)
        with _writing(folder):
            folder.stop.touch()

    def resume(self, id: str) -> TuneJob:
        """Go on from the last checkpoint of a job that does not run. Raises InputError."""
        job = self.job(id)
        if job.status in UNFINISHED:
            raise InputError("job {id} runs already: it is {status}", id=job.id, status=job.status)
        if job.status == "done":
            raise InputError("job {id} is done; start a new one to train further", id=job.id)
        folder = self._folder(job.id)
        settings, base = folder.read()
        written.check_nodes(settings)
        if not base.model.exists():
            raise NotFound("no such model file: {model}", model=base.model)
        with _writing(folder):
            folder.stop.unlink(missing_ok=True)
            self._ledger.tell(job.id, status="waiting", reason=None)
            self._spawn(folder)
        return self.job(job.id)

    def forget(self, id: str) -> None:
        """Delete a job that does not run, with its folder; its result stays in the store.

        Raises InputError for one that runs.
        """
        job, folder = self.job(id), self._folder(self._ledger.find(id).id)
        if job.status in UNFINISHED:
            raise InputError(
                "job {id} runs: it is {status}; stop it before forgetting it",
                id=job.id,
                status=job.status,
            )
        if is_id(job.id) and folder.path.is_dir():
            try:
                gone = folder.path.with_name(f".forgotten-{job.id}")
                folder.path.rename(gone)  # at once, so that nobody resumes it half deleted
                shutil.rmtree(gone)
            except OSError as error:
                raise InputError(
                    "{path} cannot be removed ({reason})",
                    path=folder.path,
                    reason=system_reason(error),
                ) from error
        self._ledger.remove(job.id)

    def metrics(self, id: str) -> list[Mapping[str, float]]:
        """Step, loss, lr, tokens_per_s of every step so far."""
        records = read_metrics(self._folder(self._ledger.find(id).id).metrics)
        return [
            {name: value for name, value in record.items() if isinstance(value, (int, float))}
            for record in records
        ]

    def logs(self, id: str) -> str:
        """What the job's process wrote, the last megabyte of it."""
        path = self._folder(self._ledger.find(id).id).log
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES))
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _check_name(self, name: str) -> None:
        """Raise InputError for no name, AlreadyExists for one of another result or job."""
        self._store.check_free(name)
        for job in self.jobs():
            if job.status in UNFINISHED and job.settings.name == name:
                raise AlreadyExists(
                    "job {id} is making {name!r} already; choose another name or stop it",
                    id=job.id,
                    name=name,
                )

    def _folder(self, id: str) -> JobFolder:
        return JobFolder(self._home / "jobs" / id)

    def _seen(self, job: TuneJob) -> TuneJob:
        """A job that says it runs but has no process was interrupted."""
        if job.status in UNFINISHED and not _alive(self._folder(job.id)):
            again = self._ledger.find(job.id)  # it may have ended just now
            return again if again.status not in UNFINISHED else replace(again, status="interrupted")
        return job

    def _spawn(self, folder: JobFolder) -> None:
        """Start the job's process and wait until it holds its lock."""
        starting = folder.starting()
        if not starting.acquire(timeout_s=PROBE_S) or held(folder.running(), for_s=ENDING_S):
            starting.release()
            raise InputError("job {id} runs already", id=folder.id)
        try:
            process = _detached(folder)
            deadline = time.monotonic() + START_S
            while not held(folder.running()) and time.monotonic() < deadline:
                if process.poll() is not None:
                    return self._ended_at_once(folder, process.returncode)
                time.sleep(0.02)
        finally:
            starting.release()
        # Someone must take note of its end, or it stays in the system's list as a zombie.
        threading.Thread(target=process.wait, daemon=True).start()

    def _ended_at_once(self, folder: JobFolder, code: int) -> None:
        """A job may be quick; one that failed before it could say why has left only its log."""
        if code and self._ledger.find(folder.id).status == "waiting":
            lines = self.logs(folder.id).strip().splitlines()
            reason = Message(lines[-1]) if lines else message("exit code {code}", code=code)
            self._ledger.tell(folder.id, status="failed", reason=reason)
            raise TuningFailed(
                "job {id} could not be started: {reason}", id=folder.id, reason=reason
            )


@contextmanager
def _writing(folder: JobFolder) -> Iterator[None]:
    """What the system says against writing into a job's folder, as one line."""
    try:
        yield
    except OSError as error:
        raise InputError(
            "{path} cannot be written ({reason}); check --home",
            path=folder.path,
            reason=system_reason(error),
        ) from error


def _detached(folder: JobFolder) -> subprocess.Popen[bytes]:
    """The job's process, in a session of its own: it outlives its caller and his terminal."""
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
        options = {"creationflags": flags}
    with folder.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "rwkv_rag.tuning", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=sharing_cores(),
            cwd=folder.path,
            **options,
        )


def _alive(folder: JobFolder) -> bool:
    try:
        return folder.path.is_dir() and (held(folder.running()) or held(folder.starting()))
    except RagError:  # a home that may only be read tells nothing
        return True


def held(lock: FileLock, *, for_s: float = PROBE_S) -> bool:
    """Whether another process holds it `for_s`; one that only looks holds it a moment."""
    if lock.acquire(timeout_s=for_s):
        lock.release()
        return False
    return True


def remove_working_files(folder: JobFolder) -> None:
    """What a finished job needs no more; its log, its figures and its order stay."""
    left = ("checkpoint.pt", "fixed.safetensors", "rows.bin", "rows.idx", "rows.mask", "checkpoint")
    for path in (*(folder.path / name for name in left), *folder.path.glob("*.part")):
        if path.is_dir():  # as some strategies write checkpoints
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
