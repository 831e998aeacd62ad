"""Jobs in processes of their own: checked before they begin, killed, stopped, gone on with."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.errors import (
    AlreadyExists,
    CorruptData,
    InputError,
    NotFound,
    RagError,
    UnsupportedModel,
)
from rwkv_rag.knowledge.locks import FileLock
from rwkv_rag.rwkv.checkpoint import save_checkpoint
from rwkv_rag.rwkv.random_weights import random_tensors
from rwkv_rag.rwkv.tuned import TunedStore
from rwkv_rag.tuning import jobs as module
from rwkv_rag.tuning import memory
from rwkv_rag.tuning.jobs import JobFolder, Jobs
from rwkv_rag.tuning.ledger import Ledger
from rwkv_rag.tuning.settings import BaseFiles
from rwkv_rag.types import TuneJob, TuneSettings

Make = Callable[..., TuneSettings]
ROW = {"question": "a?", "answer": "b"}


@pytest.fixture
def jobs(tmp_path: Path, files: BaseFiles) -> Iterator[Jobs]:
    """Jobs of a home of their own; whatever still runs afterwards is killed."""

    def resolve(name: str) -> BaseFiles:
        path = Path(name)
        return files if name == "tiny" else BaseFiles(path.stem, path, files.vocabulary)

    tuner = Jobs(tmp_path / "home", resolve)
    yield tuner
    for job in tuner.jobs():
        if job.status in module.UNFINISHED:
            kill(tmp_path / "home", job.id)


def kill(home: Path, id: str, how: signal.Signals = signal.SIGKILL) -> None:
    """End a job's process, whose id its lock tells."""
    os.kill(int((home / "jobs" / id / "running.lock").read_text()), how)


def until(jobs: Jobs, id: str, wanted: Callable[[TuneJob], bool], limit_s: float = 120) -> TuneJob:
    deadline = time.monotonic() + limit_s
    while not wanted(job := jobs.job(id)):
        assert time.monotonic() < deadline, (job, jobs.logs(id))
        time.sleep(0.05)
    return job


def ended(job: TuneJob) -> bool:
    return job.status not in module.UNFINISHED


def curve(jobs: Jobs, id: str) -> list[tuple[float, float]]:
    return [(record["step"], record["loss"]) for record in jobs.metrics(id)]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_job_survives_kill_and_stop_with_the_losses_of_one_left_alone(
    jobs: Jobs, settings: Make, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    asked = {"steps": 150, "save_every_s": 0.0}  # seconds even on a fast machine
    cut = jobs.start(settings(name="cut", **asked)).id
    whole = jobs.start(settings(name="whole", **asked)).id  # waits for its turn
    job = until(jobs, cut, lambda job: len(curve(jobs, cut)) > 3 or ended(job))
    assert job.status == "running"
    with pytest.raises(InputError, match=f"job {cut} runs already"):
        jobs.resume(cut)
    kill(home, cut)
    assert until(jobs, cut, ended).status == "interrupted"
    with pytest.raises(InputError, match=f"job {cut} does not run: it is interrupted"):
        jobs.stop(cut)

    assert until(jobs, whole, ended).status == "done"
    jobs.resume(cut)
    seen = len(curve(jobs, cut))
    until(jobs, cut, lambda job: len(curve(jobs, cut)) > seen or ended(job))
    kill(home, cut, signal.SIGTERM)
    stopped = until(jobs, cut, ended)
    assert stopped.status == "stopped" and 3 < stopped.step < 150
    jobs.resume(cut)
    done = until(jobs, cut, ended)
    assert done.status == "done", jobs.logs(cut)

    assert curve(jobs, cut) == curve(jobs, whole) and len(curve(jobs, cut)) == 150
    store = TunedStore(home)
    assert store.tensors("cut").read_bytes() == store.tensors("whole").read_bytes()
    assert done.after is not None and done.before is not None and done.after < done.before
    assert done.memory_bytes > 50_000_000 and done.steps == done.step == 150
    assert not (home / "jobs" / cut / "checkpoint.pt").exists()
    with pytest.raises(InputError, match="is done"):
        jobs.resume(cut)


@pytest.mark.slow
def test_a_waiting_job_can_be_stopped_and_a_broken_one_says_why(
    jobs: Jobs, settings: Make, tmp_path: Path
) -> None:
    turn = FileLock(tmp_path / "home/jobs/turn.lock")
    turn.path.parent.mkdir(parents=True)
    assert turn.acquire()
    lines = [json.dumps({**ROW, "question": f"{n}?"}) for n in range(300)]
    lines[250] = "no json"  # behind what is looked at before the start
    data = tmp_path / "bad.jsonl"
    data.write_text("\n".join(lines), encoding="utf-8")
    waiting, broken = jobs.start(settings()), jobs.start(settings(name="broken", data=data))
    assert waiting.status == broken.status == "waiting"
    with pytest.raises(AlreadyExists, match=f"job {waiting.id} is making 'short' already"):
        jobs.start(settings())
    jobs.stop(waiting.id)
    assert until(jobs, waiting.id, ended).status == "stopped"
    turn.release()
    job = until(jobs, broken.id, ended)
    assert job.status == "failed"
    assert str(job.reason).startswith(f"{data} line 251: ")
    assert "line 251" in jobs.logs(broken.id)
    assert "Traceback" not in jobs.logs(broken.id)


def written(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def test_what_cannot_be_trained_is_refused_before_a_job_exists(
    jobs: Jobs, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    other = tmp_path / "x060.safetensors"
    save_checkpoint(other, {"blocks.0.att.time_maa_x": random_tensors(1, 64, 9)["ln_out.weight"]})
    small = tmp_path / "small.safetensors"
    save_checkpoint(small, random_tensors(1, 64, 9))
    alone = tmp_path / "alone.bin"
    alone.write_bytes(b"\1\0")
    refused: list[tuple[dict[str, Any], type[RagError], str]] = [
        ({"steps": 0}, InputError, "steps is 0"),
        ({"name": "a/b"}, InputError, "no name for a tuned model"),
        ({"base": str(tmp_path / "none.pth")}, NotFound, "no such model file"),
        ({"base": str(other)}, UnsupportedModel, "x060"),
        ({"base": str(small)}, UnsupportedModel, "knows 9 tokens and the vocabulary has 257"),
        ({"data": tmp_path / "none.jsonl"}, NotFound, "none.jsonl does not exist"),
        ({"data": written(tmp_path / "empty.jsonl")}, InputError, "holds no row"),
        ({"data": written(tmp_path / "b.jsonl", ROW, [1])}, InputError, r"b\.jsonl line 2: "),
        ({"data": tmp_path / "rows.txt"}, InputError, "is no training data"),
        ({"data": alone}, RagError, "alone"),
        ({"quantization": "nf4", "method": "lora"}, InputError, "quantization is 'nf4'"),
        ({"lr": 1.0, "lr_final": 5.0}, InputError, "lr_final is 5, above lr"),
        ({"name": "builtin"}, InputError, "'builtin' is the name of a model"),
        ({"nodes": 3}, InputError, "nodes is 3, but MASTER_ADDR"),
        ({"rank": 1024, "method": "lora"}, InputError, "give a rank of at most"),
    ]
    for changes, kind, said in refused:
        with pytest.raises(kind, match=said):
            jobs.start(settings(**changes))
    assert jobs.jobs() == []
    assert not (tmp_path / "home/jobs").exists()


def test_a_base_that_is_too_large_is_refused_with_what_would_fit(
    jobs: Jobs, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 640 << 20)
    with pytest.raises(InputError, match=r"what would fit: .*batch 1, accumulate 64"):
        jobs.start(settings(batch=64, context=1024))
    assert jobs.jobs() == []
    assert not jobs.estimate(settings(batch=64, context=1024)).fits


def test_an_estimate_tells_time_and_memory_and_starts_nothing(jobs: Jobs, settings: Make) -> None:
    found = jobs.estimate(settings())
    assert found.fits and found.seconds is not None and found.trainable == 2 * 64 * 64
    assert jobs.jobs() == []


def test_a_name_in_the_store_is_not_made_again(jobs: Jobs, settings: Make, tmp_path: Path) -> None:
    (tmp_path / "home/tuned/short").mkdir(parents=True)
    with pytest.raises(AlreadyExists, match="something tuned called 'short' already"):
        jobs.start(settings())


def test_a_job_without_a_process_was_interrupted(
    jobs: Jobs, settings: Make, tmp_path: Path
) -> None:
    id = Ledger(tmp_path / "home").add(settings())
    folder = JobFolder(tmp_path / "home/jobs" / id)
    assert jobs.job(id).status == "interrupted"  # killed before it had a folder
    folder.path.mkdir(parents=True)
    running = folder.running()
    assert running.acquire()
    assert jobs.job(id).status == "waiting"
    running.release()
    assert [job.status for job in jobs.jobs()] == ["interrupted"]
    with pytest.raises(CorruptData, match=r"order\.json cannot be read"):
        jobs.resume(id)


def test_a_job_that_ended_can_be_forgotten(jobs: Jobs, settings: Make, tmp_path: Path) -> None:
    ids = [Ledger(tmp_path / "home").add(settings(name=name)) for name in ("kept", "gone")]
    for id in ids:
        JobFolder(tmp_path / "home/jobs" / id).path.mkdir(parents=True)
    running = JobFolder(tmp_path / "home/jobs" / ids[1]).running()
    assert running.acquire()
    with pytest.raises(InputError, match=f"job {ids[1]} runs: it is waiting; stop it"):
        jobs.forget(ids[1])
    running.release()
    jobs.forget(ids[1])
    assert [job.id for job in jobs.jobs()] == [ids[0]]
    assert [path.name for path in (tmp_path / "home/jobs").iterdir()] == [ids[0]]


def test_no_folder_is_deleted_that_is_not_named_as_jobs_are(
    jobs: Jobs, settings: Make, tmp_path: Path
) -> None:
    id = Ledger(tmp_path / "home").add(settings())
    (tmp_path / "home/mine").mkdir()
    with closing(sqlite3.connect(tmp_path / "home/catalog.sqlite3")) as db, db:
        db.execute("UPDATE jobs SET id = '../mine', status = 'done' WHERE id = ?", (id,))
    jobs.forget("../mine")
    assert jobs.jobs() == [] and (tmp_path / "home/mine").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "signal"])
def test_a_job_that_waits_for_other_machines_can_be_stopped(
    jobs: Jobs, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, value in {"ADDR": "127.0.0.1", "PORT": str(port)}.items():
        monkeypatch.setenv(f"MASTER_{name}", value)
    monkeypatch.setenv("NODE_RANK", "0")
    id = jobs.start(settings(nodes=2)).id
    until(jobs, id, lambda job: "tokens" in jobs.logs(id) or ended(job))
    time.sleep(1)  # by now it is outside Python
    kill(tmp_path / "home", id, signal.SIGTERM) if how == "signal" else jobs.stop(id)
    assert until(jobs, id, ended, limit_s=10).status == "stopped"
    assert JobFolder(tmp_path / "home/jobs" / id).turn().acquire(timeout_s=5)


def test_logs_and_metrics_of_a_job_that_wrote_none_are_empty(
    jobs: Jobs, settings: Make, tmp_path: Path
) -> None:
    id = Ledger(tmp_path / "home").add(settings())
    assert jobs.logs(id) == "" and jobs.metrics(id) == []
    for ask in (jobs.logs, jobs.metrics, jobs.stop, jobs.resume):
        with pytest.raises(NotFound, match="there is no job 'zzzz'"):
            ask("zzzz")


def test_an_order_comes_back_as_it_was_written(
    settings: Make, files: BaseFiles, tmp_path: Path
) -> None:
    folder = JobFolder(tmp_path)
    folder.write(settings(parts=("att",)), files)
    assert folder.read() == (settings(parts=("att",)), files)


def test_importing_the_jobs_loads_no_torch() -> None:
    import subprocess
    import sys

    program = "import sys, rwkv_rag.tuning.jobs; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
