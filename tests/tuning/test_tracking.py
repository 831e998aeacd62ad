"""Figures reach the file whatever happens, and Weights & Biases never holds training up."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rwkv_rag.errors import TuningFailed
from rwkv_rag.tuning import tracking
from rwkv_rag.tuning.tracking import MetricsFile, read_metrics

from .test_checkpoints import full_disk

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")

RUN = """
import logging, sys, time
from pathlib import Path
from rwkv_rag.tuning import tracking
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
tracking.WAIT_S = 3.0
began = time.monotonic()
sink = tracking.WandbSink(
    Path(sys.argv[1]), mode=sys.argv[2], project="cats", name="run-k7", config={"rank": 4}
)
for step in (1, 2, 3):
    sink.log({"step": step, "loss": 3.0 - step / 10, "lr": 0.1, "task": "language"})
sink.close({"after": 2.5, "status": "done"})
print("seconds", time.monotonic() - began)
"""
READ = """
import json, sys
from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4

def records(data):
    # LevelDB's log: blocks of pieces, each with a checksum, a length and its place in a record.
    at, whole = HEADER, b""  # the file's own header is as long as a piece's
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, place = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if place in (FULL, LAST):
            yield whole
            whole = b""

def values(items):
    return {(i.key or i.nested_key[0]): json.loads(i.value_json) for i in items}

found = {"steps": [], "summary": {}, "config": {}}
for data in records(open(sys.argv[1], "rb").read()):
    record = wandb_internal_pb2.Record()
    record.ParseFromString(data)
    if record.HasField("history"):
        found["steps"].append(values(record.history.item))
    if record.HasField("summary"):
        found["summary"] |= values(record.summary.update)
    if record.HasField("run"):
        found["project"] = record.run.project
        found["config"] |= values(record.run.config.update)
print(json.dumps(found))
"""


def test_a_full_disk_takes_no_figure_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2):
        MetricsFile(path, after_step=step).log({"step": step, "task": "x" * 3000})
    before = path.read_bytes()
    with full_disk(4000), pytest.raises(TuningFailed, match=r"File too large.*resume the job"):
        MetricsFile(path, after_step=2)
    assert path.read_bytes() == before


def test_half_a_line_of_a_killed_process_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsFile(path).log({"step": 1, "loss": 2.0})
    with path.open("ab") as file:
        file.write(b'[1]\n{"loss": 1}\n{"step": 2, "lo\xff')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    assert read_metrics(tmp_path / "missing") == []


def test_going_on_drops_the_steps_that_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = MetricsFile(path)
    for step in (1, 2, 3):
        first.log({"step": step})
    MetricsFile(path, after_step=2).log({"step": 3})
    assert read_metrics(path) == [{"step": 1}, {"step": 2}, {"step": 3}]


def test_a_file_that_cannot_grow_ends_training_with_advice(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(TuningFailed, match=r"cannot be written \(Is a directory\); .* resume"):
        MetricsFile.log(_at(tmp_path / "metrics.jsonl"), {"step": 1})


def _at(path: Path) -> MetricsFile:
    file = MetricsFile.__new__(MetricsFile)
    file._path = path
    return file


def ran(folder: Path, mode: str, environment: dict[str, str]) -> str:
    run = [sys.executable, "-c", RUN, str(folder), mode]
    done = subprocess.run(run, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A user of his own, known to nobody, whose server does not answer."""
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return {**kept, "HOME": str(tmp_path), "WANDB_BASE_URL": "http://127.0.0.1:9"}


@needs_wandb
def test_an_offline_run_can_be_read_back_from_its_folder(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    ran(tmp_path / "job", "offline", environment)
    (path,) = (tmp_path / "job").rglob("run-*.wandb")
    read = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, env=environment
    )
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    assert [items["loss"] for items in found["steps"]] == pytest.approx([2.9, 2.8, 2.7])
    assert found["project"] == "cats"
    assert found["config"]["rank"] == 4
    assert found["summary"]["after"] == 2.5 and found["summary"]["status"] == "done"


@needs_wandb
@pytest.mark.slow
@pytest.mark.parametrize("key", ["", "0" * 40])
def test_without_network_or_login_a_run_is_kept_offline(
    tmp_path: Path, environment: dict[str, str], key: str
) -> None:
    given = {**environment, "WANDB_API_KEY": key} if key else environment
    said = ran(tmp_path / "job", "online", given)
    assert ("cannot be reached" if key else "not logged in") in said
    assert "this run is kept offline" in said
    assert float(said.split("seconds ")[1]) < 20
    assert list((tmp_path / "job").rglob("run-*.wandb"))


def test_what_wandb_throws_ends_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("the server\nis down")

    with caplog.at_level(logging.WARNING):
        assert tracking._tried(broken, "wandb lost a step") is None
    assert caplog.messages == ["wandb lost a step (RuntimeError: the server is down)"]


@needs_wandb
def test_the_login_is_told_without_asking_the_server(environment: dict[str, str]) -> None:
    program = "from rwkv_rag.tuning.tracking import wandb_login; print(wandb_login())"
    given = {**environment, "WANDB_API_KEY": "0" * 40}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=given)
    assert done.stdout.split() == [b"logged", b"in"], done.stderr
