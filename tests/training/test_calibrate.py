"""Measuring an exported model and filling in its manifest."""

from __future__ import annotations

from pathlib import Path

import calibrate
import export
import pytest
import torch
from train import Model

from rwkv_rag.encoders.manifest import Manifest
from rwkv_rag.evaluation.dataset import Row

from .conftest import TINY, call


@pytest.fixture
def untrained(prepared: Path, tmp_path: Path) -> Path:
    """A model folder as export.py writes it, of a run that has not begun."""
    torch.manual_seed(0)
    torch.save({"step": 0, "module": Model(TINY).state_dict()}, tmp_path / "checkpoint.pt")
    call(export, prepared, tmp_path, tmp_path / "model", "--name", "untrained")
    return tmp_path / "model"


@pytest.mark.slow
def test_a_model_that_learned_nothing_is_not_trusted(
    prepared: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "EVERY", {"zh": 2, "en": 2})
    call(calibrate, prepared / "dev.jsonl.xz", untrained)
    manifest = Manifest.read(untrained)
    assert manifest.name == "untrained"
    assert set(manifest.reading) == {"zh", "en"} and not manifest.writes
    assert -1 <= manifest.similarity_floor <= 1 and 0 <= manifest.relevance <= 1


def test_every_fourth_chinese_and_every_second_english_question_is_looked_at() -> None:
    rows = [Row(str(n), "zh" if n % 3 else "en", "s", "", "p", "q", (), False) for n in range(60)]
    found = calibrate.chosen(rows, 1000)
    assert [int(row.id) for row in found if row.lang == "en"] == [*range(0, 60, 6)]
    assert len([row for row in found if row.lang == "zh"]) == 10
    assert found == sorted(found, key=rows.index)
    assert len(calibrate.chosen(rows, 7)) <= 7
