"""Tuner: settings and jobs travel with every one of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest

from rwkv_rag.errors import InputError, Message, NotFound, TuningFailed
from rwkv_rag.services.contracts import TUNER
from rwkv_rag.types import TuneEstimate, TuneJob, TuneSettings

from .conftest import Reach

SETTINGS = TuneSettings("诗人", Path("/rows/行.jsonl"), "lora", chunk=7, lr=1e-4, parts=("att",))
ODD = TuneSettings(
    name="x", data=Path("/r.bin"), method="full", base="/m/模型.pth", scored="all", skip_bad=True,
    steps=3, epochs=0.5, batch=1, accumulate=2, context=64, chunk=128, lr=0.1, lr_final=0.01,
    schedule="wsd", warmup=1, weight_decay=0.2, clip=0.3, rank=2, alpha=4.0, parts=("ffn", "att"),
    held_out=0.0, precision="bf16", quantization="int8", checkpointing=True, device="cpu",
    devices=2, nodes=3, strategy="ddp", seed=9, save_every_s=1.5, wandb="offline",
    wandb_project="p",
)  # fmt: skip


class StandIn:
    """A tuner that keeps what it was asked, and whose jobs do not move."""

    def __init__(self) -> None:
        self.made: dict[str, TuneJob] = {}

    def estimate(self, settings: TuneSettings) -> TuneEstimate:
        return TuneEstimate(
            3_000_000_000, 2_000_000_000, settings.rank, None, (Message("batch 1"),)
        )

    def start(self, settings: TuneSettings) -> TuneJob:
        if settings.steps < 1:
            raise InputError(f"steps is {settings.steps}; give a whole number from 1")
        job = TuneJob(f"k{len(self.made)}", settings, "running", "2026-01-02T03:04:05+00:00")
        self.made[job.id] = replace(job, loss=float("inf"), memory_bytes=1 << 40, eta_s=0.1)
        return self.made[job.id]

    def jobs(self) -> list[TuneJob]:
        return list(self.made.values())[::-1]

    def job(self, id: str) -> TuneJob:
        if id not in self.made:
            raise NotFound(f"there is no job {id!r}")
        return self.made[id]

    def stop(self, id: str) -> None:
        self.made[id] = replace(self.job(id), status="stopped")

    def resume(self, id: str) -> TuneJob:
        raise TuningFailed(f"job {self.job(id).id} failed: 显存不足")

    def forget(self, id: str) -> None:
        del self.made[self.job(id).id]

    def metrics(self, id: str) -> list[Mapping[str, float]]:
        return [{"step": 1, "loss": 0.1 + 0.2, "lr": 1e-300}, {"step": 2, "loss": float("inf")}]

    def logs(self, id: str) -> str:
        return "一行\x1b[31m\n" * 100_000


def test_every_setting_is_set_in_the_test_to_something_else_than_its_default() -> None:
    defaults = TuneSettings("", Path())
    assert [f.name for f in fields(ODD) if getattr(ODD, f.name) == getattr(defaults, f.name)] == []


def test_jobs_live_the_same_life_everywhere(reach: Reach) -> None:
    itself = StandIn()
    there = reach(TUNER, itself)
    first, second = there.start(SETTINGS), there.start(ODD)
    assert (first.settings, second.settings) == (SETTINGS, ODD)
    assert there.jobs() == itself.jobs() == [second, first]
    there.stop("k0")
    assert there.job("k0") == itself.job("k0") and there.job("k0").status == "stopped"
    assert there.metrics("k0") == itself.metrics("k0")
    assert there.logs("k0") == itself.logs("k0")
    there.forget("k0")
    assert there.jobs() == [second]


def test_an_estimate_still_knows_whether_it_fits(reach: Reach) -> None:
    found = reach(TUNER, StandIn()).estimate(SETTINGS)
    assert found == StandIn().estimate(SETTINGS) and not found.fits


def test_faults_keep_their_class_and_words(reach: Reach) -> None:
    there = reach(TUNER, StandIn())
    with pytest.raises(InputError, match="steps is 0"):
        there.start(replace(SETTINGS, steps=0))
    with pytest.raises(NotFound, match="there is no job '无'"):
        there.job("无")
    there.start(SETTINGS)
    with pytest.raises(TuningFailed, match="job k0 failed: 显存不足"):
        there.resume("k0")


def test_rows_are_those_of_the_caller(
    reach: Reach, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = reach(TUNER, StandIn()).start(replace(SETTINGS, data=Path("rows.jsonl")))
    assert job.settings.data == (Path("rows.jsonl") if way == "direct" else tmp_path / "rows.jsonl")
