"""Measuring an exported model and filling in its manifest."""

from __future__ import annotations

from pathlib import Path

import calibrate
import export
import pytest
import torch
from train import Model

from rwkv_rag.encoders.manifest import Manifest

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
    data: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "EVERY", 2)
    call(calibrate, data, untrained)
    manifest = Manifest.read(untrained)
    assert manifest.name == "untrained"
    assert set(manifest.head_weight) == {"zh", "en"} and not manifest.writes
    assert -1 <= manifest.similarity_floor <= 1 and 0 <= manifest.relevance <= 1
