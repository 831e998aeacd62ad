"""The loss of rows: what counts, in segments or at once, alone or in parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from rwkv_rag.rwkv.checkpoint import load_checkpoint
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.tuning.dataset import Batches, Rows, prepare
from rwkv_rag.tuning.methods import method_named
from rwkv_rag.tuning.network import Network
from rwkv_rag.tuning.settings import BaseFiles
from rwkv_rag.tuning.task import LanguageModel, LanguageTask
from rwkv_rag.types import TuneSettings

CPU = torch.device("cpu")


@pytest.fixture
def batches(files: BaseFiles, questions: Path, tmp_path: Path) -> Batches:
    prepare(questions, tmp_path / "rows", Tokenizer.from_file(files.vocabulary))
    rows = Rows.open(tmp_path / "rows")
    return Batches(rows, batch=3, context=0, seed=1, held_out=0.2)


@pytest.fixture
def model(files: BaseFiles, settings: Callable[..., TuneSettings]) -> LanguageModel:
    network = Network.from_checkpoint(load_checkpoint(files.model))
    method_named("state").attach(network, settings())
    with torch.no_grad():
        for state in network.parameters():
            if state.requires_grad:
                torch.nn.init.normal_(state, std=0.1)
    return LanguageModel(network)


def summed(task: LanguageTask, model: LanguageModel, step: int) -> float:
    return sum(float(part.loss.detach()) * part.weight for part in task.parts(model, step))


def test_the_loss_is_the_cross_entropy_of_the_scored_tokens(
    batches: Batches, model: LanguageModel
) -> None:
    batch = batches.batch(0)
    with torch.no_grad():
        logits = model.network(batch.ids[:, :-1])
    scored = batch.scored[:, 1:]
    wanted = F.cross_entropy(logits[scored], batch.ids[:, 1:][scored], reduction="sum")
    task = LanguageTask(batches, CPU)
    assert summed(task, model, 0) == pytest.approx(float(wanted), rel=1e-4)
    assert task.weight(0) == int(scored.sum())


@pytest.mark.parametrize("chunk", [2, 7, 16, 1000])
def test_reading_in_segments_gives_the_loss_of_reading_at_once(
    batches: Batches, model: LanguageModel, chunk: int
) -> None:
    whole, cut = LanguageTask(batches, CPU), LanguageTask(batches, CPU, chunk=chunk)
    assert summed(cut, model, 2) == pytest.approx(summed(whole, model, 2), rel=1e-4)
    assert cut.weight(2) == whole.weight(2)


def test_no_gradient_passes_from_a_segment_to_the_one_before(
    batches: Batches, model: LanguageModel
) -> None:
    parts = [*LanguageTask(batches, CPU, chunk=8).parts(model, 0)]
    assert len(parts) > 2
    # The state that rows begin with is all that trains here, and only the first segment has it.
    assert [part.loss.requires_grad for part in parts] == [True, *[False] * (len(parts) - 1)]


def test_devices_that_read_on_get_parts_that_change_nothing(
    batches: Batches, model: LanguageModel
) -> None:
    alone = LanguageTask(batches, CPU, chunk=8)
    waiting = LanguageTask(batches, CPU, chunk=8, most=lambda count: count + 3)
    assert len([*waiting.parts(model, 1)]) == len([*alone.parts(model, 1)]) + 3
    assert summed(waiting, model, 1) == pytest.approx(summed(alone, model, 1), rel=1e-6)


def test_accumulated_batches_are_the_next_ones_in_order(
    batches: Batches, model: LanguageModel
) -> None:
    one, two = LanguageTask(batches, CPU), LanguageTask(batches, CPU, accumulate=2)
    both = summed(one, model, 2) + summed(one, model, 3)
    assert summed(two, model, 1) == pytest.approx(both, rel=1e-5)
    assert two.weight(1) == one.weight(2) + one.weight(3)


def test_rows_held_back_are_measured_a_token(batches: Batches, model: LanguageModel) -> None:
    task = LanguageTask(batches, CPU)
    count = sum(int(batch.scored.sum()) for batch in batches.held_out_batches())
    chunked = LanguageTask(batches, CPU, chunk=9).held_out_loss(model)
    loss = task.held_out_loss(model)
    assert count and loss is not None and 3 < loss < 9  # about log(257), nothing was learned
    assert chunked == pytest.approx(loss, rel=1e-4)
    assert task.held_out_loss(model, stop=lambda: True) is None
