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
from batches import Batch, Steps, pad
from recipe import load
from train import Losses, Model

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.embedder import RwkvEmbedder
from rwkv_rag.encoders.reader import RwkvReader
from rwkv_rag.rwkv.role import embed_ids
from rwkv_rag.tuning.trainer import TrainerSettings

from .conftest import TASKS, TINY, about_zh, call

OWN = {  # parameters that only this task moves
    "language": (),
    "cloze": ("heads.read.", "heads.states.read"),
    "read": ("heads.read.", "heads.states.read"),
    "pairs": ("heads.embed.", "heads.states.embed"),
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
def losses(trained: dict[str, torch.Tensor]) -> Losses:
    """Not of a fresh model: its outputs are zero, and nothing behind them gets a gradient."""
    model = Model(TINY)
    model.load_state_dict(trained)
    return Losses(model, TINY)


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

    def killed(steps: Steps, step: int) -> tuple[str, Batch]:
        if step == 5:
            raise Killed
        return whole(steps, step)

    whole = Steps.__getitem__
    monkeypatch.setattr(train, "TrainerSettings", partial(TrainerSettings, save_every_s=0.0))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Steps, "__getitem__", killed)
        call(train, prepared, tmp_path, "--steps", TINY.steps, "--threads", 1)
    assert [step for step, _, _ in records(tmp_path)] == [1, 2, 3, 4, 5]
    call(train, prepared, tmp_path, "--steps", TINY.steps, "--threads", 1)
    assert records(tmp_path) == records(run)


def test_a_run_ends_with_a_model_that_is_calibrated(prepared: Path, run: Path) -> None:
    assert Base(run / "model", dtype="fp32", threads=1).metadata["steps"] == str(TINY.steps)
    assert (run / "model/by").read_text() == str(prepared / "dev.jsonl.xz")


@pytest.mark.parametrize("task", TASKS)
def test_a_task_moves_its_own_head_and_the_base_and_no_other_head(
    losses: Losses, prepared: Path, task: str
) -> None:
    batch = Steps(prepared, TINY).batch(task, np.random.default_rng(0), 0)
    step = losses(task, batch, torch.device("cpu"))
    step.loss.backward()
    moved = {n for n, p in losses.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert step.tokens > 0 and step.loss.item() > 0
    assert "base.emb.weight" in moved
    heads = {name for name in moved if name.startswith("heads.")}
    assert all(name.startswith(OWN[task]) for name in heads) or (task == "language" and not heads)
    assert all(any(name.startswith(prefix) for name in heads) for prefix in OWN[task])


def test_the_first_stage_trains_the_vectors_of_single_tokens_alone(
    prepared: Path, run: Path
) -> None:
    """A vector of the whole model is at first what its tokens mean by themselves."""
    words = torch.load(run / "words/checkpoint.pt", weights_only=True)["module"]
    fresh, steps = Model(TINY), Steps(prepared, TINY)
    torch.manual_seed(TINY.seed)
    untouched = Model(TINY).state_dict()
    changed = {name for name, tensor in words.items() if not torch.equal(tensor, untouched[name])}
    assert changed == {"heads.embed.words.weight", "heads.embed.importance.weight"}
    fresh.load_state_dict(words)
    embed, rng = fresh.heads.embed, np.random.default_rng
    padded = steps.pair_rows.batch(rng(1), 4, 16, 32)
    flat = steps.pair_rows.strung(rng(1), 4, 16, 32)
    with torch.no_grad():
        whole = embed(
            fresh.base, fresh.heads.states["embed"], padded.passage, padded.passage_lengths
        )
        alone = embed.of_words(flat.passage, flat.passage_offsets)
    torch.testing.assert_close(whole, alone)


def test_tokens_begin_with_the_meanings_of_the_teacher(prepared: Path, tmp_path: Path) -> None:
    meanings = np.random.default_rng(0).standard_normal((TINY.shape.vocab, 48)).astype(np.float32)
    np.save(tmp_path / "meanings.npy", meanings)
    model, steps = Model(TINY), Steps(prepared, TINY)
    train.begin(model, steps, tmp_path / "meanings.npy")
    found = model.heads.embed.words.weight.detach()[:, : TINY.meaning]
    centred = meanings - meanings.mean(0)
    nearest = np.linalg.norm(centred[:, None] - centred[None], axis=2)[7].argsort()[1]
    assert float(found.norm(dim=1).square().mean()) == pytest.approx(TINY.meaning / TINY.vector)
    assert (found[7] @ found[nearest]) > (found[7] @ found.T).quantile(0.9)


@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_a_recipe_mixes_known_tasks_and_its_phases_end_in_order(size: str) -> None:
    recipe = load(size)
    ends = [phase.until for phase in recipe.phases]
    assert ends == sorted(ends) and ends[-1] == recipe.steps
    for step in (0, *ends):
        shares = recipe.phase(step).tasks
        assert sum(shares.values()) == pytest.approx(1) and set(shares) <= set(TASKS)
    assert recipe.vector >= recipe.meaning


def test_the_exported_folder_holds_what_was_trained(
    base: Base, trained: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    assert base.manifest.name == "miniature" and base.manifest.reading == {}
    assert base.metadata["steps"] == str(TINY.steps)
    for name in ("embed.words.weight", "read.out.weight", "states.read"):
        tensor = trained[f"heads.{name}"]
        step = tensor.abs().amax() / 127
        torch.testing.assert_close(base.weight(name), tensor, rtol=0, atol=float(step) / 2 + 1e-6)
    own = {name for name in export.exported(trained) if not name.endswith(".scale")}
    assert own == {name.removeprefix("base.") for name in trained}


def test_only_big_matrices_lose_precision() -> None:
    assert export.stored("w", torch.rand(64, 256))["w"].dtype == torch.int8
    for shape in [(64,), (63, 256), (1, 1, 256), (2, 64, 64)]:
        assert export.stored("w", torch.rand(shape))["w"].dtype == torch.float32


def test_the_program_embeds_as_the_model_was_trained(
    base: Base, trained: dict[str, torch.Tensor]
) -> None:
    model = Model(TINY)
    model.load_state_dict(trained)
    ids, lengths = pad([embed_ids(base.tokenizer.encode(text), 90) for text in PASSAGES], 91)
    with torch.no_grad():
        wanted = model.heads.embed(model.base, model.heads.states["embed"], ids, lengths)
    found = torch.from_numpy(RwkvEmbedder(base).embed_documents(PASSAGES))
    assert (found * wanted).sum(1).min() > 0.995  # int8 weights on one side


def test_the_program_reads_and_judges_with_the_exported_folder(base: Base) -> None:
    readings = RwkvReader(base).read(QUESTION, PASSAGES)
    for passage, reading in zip(PASSAGES, readings, strict=True):
        assert reading is not None and np.isfinite(reading.margin)
        assert 0 <= reading.span.start < reading.span.end <= len(passage)
