"""The whole way in miniature: prepared data to a trained run to a folder that the program reads."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import export
import numpy as np
import pytest
import torch
import train
from batches import pad
from train import Model, Tasks

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.embedder import RwkvEmbedder
from rwkv_rag.encoders.reader import RwkvReader
from rwkv_rag.encoders.reranker import RwkvReranker
from rwkv_rag.rwkv.role import embed_ids
from rwkv_rag.tuning.trainer import StepLoss, TrainerSettings

from .conftest import TASKS, TINY, about_zh, call

OWN = {  # parameters that only this task moves
    "language": (),
    "cloze": ("heads.read.", "heads.states.read"),
    "read": ("heads.read.", "heads.states.read"),
    "pairs": ("heads.embed.", "heads.states.embed"),
    "rerank": ("heads.rerank.", "heads.states.rerank"),
}
QUESTION, PASSAGES = "青石有多少座桥？", [about_zh(0, "青石"), about_zh(9, "白港"), "。"]


class Killed(Exception):
    """Stands for a process that ends between two steps."""


@pytest.fixture(scope="session")
def run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    call(train, prepared, folder, "--steps", TINY.steps, "--threads", 1)
    return folder


@pytest.fixture(scope="session")
def base(prepared: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("exported")
    call(export, prepared, run, folder, "--name", "miniature")
    return Base(folder, dtype="fp32", threads=1)


@pytest.fixture(scope="session")
def trained(run: Path) -> dict[str, torch.Tensor]:
    kept = torch.load(run / "checkpoint.pt", weights_only=True)
    module: dict[str, torch.Tensor] = kept["module"]
    return module


@pytest.fixture
def tasks(prepared: Path, trained: dict[str, torch.Tensor]) -> Tasks:
    """Not of a fresh model: its outputs are zero, and nothing behind them gets a gradient."""
    model = Model(TINY)
    model.load_state_dict(trained)
    return Tasks(model, TINY, prepared)


def records(run: Path) -> list[tuple[int, str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [(line["step"], line["task"], line["loss"]) for line in lines]


def test_a_run_takes_every_step_and_every_task(run: Path) -> None:
    steps, tasks, losses = zip(*records(run), strict=True)
    assert steps == tuple(range(1, TINY.steps + 1))
    assert set(tasks) == set(TASKS)
    assert np.isfinite(losses).all()


def test_a_killed_run_goes_on_with_the_same_losses(
    prepared: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second process knows nothing but the checkpoint of the last step before the kill."""

    def killed(tasks: Tasks, step: int) -> StepLoss:
        if step == 5:
            raise Killed
        return whole(tasks, step)

    whole = Tasks.__call__
    monkeypatch.setattr(train, "TrainerSettings", partial(TrainerSettings, save_every_s=0.0))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Tasks, "__call__", killed)
        call(train, prepared, tmp_path, "--steps", TINY.steps, "--threads", 1)
    assert [step for step, _, _ in records(tmp_path)] == [1, 2, 3, 4, 5]
    call(train, prepared, tmp_path, "--steps", TINY.steps, "--threads", 1)
    assert records(tmp_path) == records(run)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_moves_its_own_head_and_the_base_and_no_other_head(tasks: Tasks, task: str) -> None:
    loss, tokens = getattr(tasks, task)(np.random.default_rng(0), 0.9)
    loss.backward()
    moved = {n for n, p in tasks.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert tokens > 0 and loss.item() > 0
    assert "base.emb.weight" in moved
    heads = {name for name in moved if name.startswith("heads.")}
    assert all(name.startswith(OWN[task]) for name in heads) or (task == "language" and not heads)
    assert all(any(name.startswith(prefix) for name in heads) for prefix in OWN[task])


def test_the_loss_of_a_step_depends_on_its_number_only(tasks: Tasks) -> None:
    first = tasks(3)
    tasks(8)
    again = tasks(3)
    assert (first.task, first.tokens, first.loss) == (again.task, again.tokens, again.loss)


def test_shares_of_the_mixture_add_up_at_every_point_of_the_run() -> None:
    for progress in np.linspace(0, 1, 101):
        shares = train.CPU_SMALL.mixture(progress)
        assert sum(shares.values()) == pytest.approx(1) and set(shares) <= set(TASKS)


def test_the_exported_folder_holds_what_was_trained(
    base: Base, trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    assert base.manifest.name == "miniature" and base.manifest.head_weight == {}
    assert base.metadata["steps"] == str(TINY.steps)
    for name in ("embed.proj.weight", "read.out.weight", "rerank.fc2.weight", "states.read"):
        tensor = trained[f"heads.{name}"]
        torch.testing.assert_close(base.weight(name), tensor, rtol=2**-8, atol=0)
    assert set(export.exported(trained)) == {
        name.removeprefix("base.") for name in trained if name != "base.head.weight"
    }


def test_only_big_matrices_lose_precision() -> None:
    assert export.stored(torch.rand(64, 256)).dtype == torch.bfloat16
    for shape in [(64,), (63, 256), (1, 1, 256), (2, 64, 64)]:
        assert export.stored(torch.rand(shape)).dtype == torch.float32


def test_the_program_embeds_as_the_model_was_trained(
    base: Base, trained: dict[str, torch.Tensor]
) -> None:
    model = Model(TINY)
    model.load_state_dict(trained)
    ids, lengths = pad([embed_ids(base.tokenizer.encode(text), 90) for text in PASSAGES], 91)
    with torch.no_grad():
        wanted = model.heads.embed(model.base, model.heads.states["embed"], ids, lengths)
    found = torch.from_numpy(RwkvEmbedder(base).embed_documents(PASSAGES))
    assert (found * wanted).sum(1).min() > 0.995  # bf16 weights on one side


def test_the_program_reads_and_judges_with_the_exported_folder(base: Base) -> None:
    readings = RwkvReader(base).read(QUESTION, PASSAGES)
    for passage, reading in zip(PASSAGES, readings, strict=True):
        assert reading is not None and np.isfinite(reading.margin)
        assert 0 <= reading.span.start < reading.span.end <= len(passage)
    scores = RwkvReranker(base).rerank(QUESTION, PASSAGES)
    assert len(scores) == len(PASSAGES) and all(0 < score < 1 for score in scores)
