"""A tiny base with its vocabulary, rows to tune it on, and tuners of a home of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.rwkv.checkpoint import save_checkpoint
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.tuning.settings import BaseFiles
from rwkv_rag.types import TuneSettings

VOCABULARY = 257  # the end of text and every single byte


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> BaseFiles:
    """A random model of two layers that reads bytes."""
    folder = tmp_path_factory.mktemp("tiny")
    tensors = random_tensors(2, 64, VOCABULARY, ranks=Ranks(8, 8, 8, 16), seed=7)
    save_checkpoint(folder / "tiny.safetensors", tensors)
    lines = (f"{byte + 1} {bytes([byte])!r} 1\n" for byte in range(256))
    (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    return BaseFiles("tiny", folder / "tiny.safetensors", folder / "vocab.txt")


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty questions with answers that can be learned."""
    path = tmp_path_factory.mktemp("rows") / "questions.jsonl"
    rows = [{"question": f"{n}?", "answer": f"it is {n % 3}, as always"} for n in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def settings(questions: Path) -> Callable[..., TuneSettings]:
    """Settings of a short fine-tuning of the tiny base, with changes."""

    def make(**changes: Any) -> TuneSettings:
        small = {"steps": 6, "batch": 4, "context": 64, "warmup": 2, "device": "cpu"}
        named = {"name": "short", "data": questions, "base": "tiny", "precision": "fp32"}
        return TuneSettings(**{**named, **small, **changes})

    return make
