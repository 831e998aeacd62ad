"""The figures of `rwkv-rag bench --model`."""

from __future__ import annotations

import json

import pytest

from rwkv_rag.errors import NotFound
from rwkv_rag.rwkv.checkpoint import save_checkpoint
from rwkv_rag.rwkv.measure import Measures, measure
from rwkv_rag.rwkv.random_weights import random_tensors


def test_it_gives_every_figure_and_tells_each_stage(tmp_path):
    save_checkpoint(tmp_path / "m.safetensors", random_tensors(1, 64, 40))
    stages: list[str] = []
    figures = measure(tmp_path / "m.safetensors", stages.append)
    assert figures.keys() == Measures.__annotations__.keys()
    assert all(value > 0 for value in figures.values() if not isinstance(value, str))
    assert figures["dtype"] == "fp32" and figures["threads"] >= 1
    # 64 * 40 of the head and 12 * 64 * 64 of the big matrices, plus the low ranks.
    assert figures["weights_bytes"] > 4 * (64 * 40 + 12 * 64 * 64)
    assert figures["peak_rss_bytes"] > 10e6
    assert len(stages) >= 5
    json.dumps(figures)


def test_a_missing_file_is_said_before_anything_is_timed(tmp_path):
    with pytest.raises(NotFound):
        measure(tmp_path / "none.pth", print)
