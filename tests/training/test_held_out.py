"""Reading is measured on what was held back, and on nothing else."""

from __future__ import annotations

from pathlib import Path

import held_out
import numpy as np
import pytest
import torch
from batches import Passages
from train import Losses, Model

from .conftest import TINY, call


class Knowing(Losses):
    """Scores the tokens of the answer, or one token more, above all others."""

    def __init__(self, more: int) -> None:
        super().__init__(Model(TINY), TINY)
        self.more = more

    def spans(self, rows: held_out.Spans) -> torch.Tensor:
        scores = torch.zeros(*rows.ids.shape, 2).masked_fill(~rows.allowed[..., None], -1e4)
        for row, (start, end) in enumerate(zip(rows.start, rows.end, strict=True)):
            scores[row, start, 0] = scores[row, end + (self.more if start else 0), 1] = 50.0
        return scores


@pytest.mark.parametrize("more", [0, 1])
def test_who_knows_all_answers_has_the_best_figures(prepared: Path, more: int) -> None:
    rows = Passages(prepared / "reading.npz", TINY.newline, held_out=True)
    found = list(held_out.measured(Knowing(more), rows, (4, 64)))
    assert len(found) == len(rows.rows) > 0
    f1 = [each for _, _, each in found if each is not None]
    assert f1 and all(each == 1.0 if not more else 0.6 < each < 1.0 for each in f1)
    losses = np.array([loss for _, loss, _ in found])
    assert (losses < 1e-3).all() == (not more)


def test_a_checkpoint_is_measured_by_source(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"step": 7, "module": Model(TINY).state_dict()}, tmp_path / "checkpoint.pt")
    call(held_out, prepared, tmp_path)
    said = capsys.readouterr().out
    assert said.startswith("step 7\n") and "| all | " in said and "| towns | " in said
