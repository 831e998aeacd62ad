"""Reranking by reading: a text is as good as the answer it holds.

Serves where a model's own reranking head was measured not to help: the reader's margins put the
passage that answers first far more often, and know when none does. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rwkv_rag.interfaces import Reader
from rwkv_rag.types import Reading


class AnswerReranker:
    """Implements `interfaces.Reranker` on a reader."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score in 0..1 for each text; above a half: likelier to answer `query` than not."""
        return [_score(reading) for reading in self._reader.read(query, texts)]


def _score(reading: Reading | None) -> float:
    return 0.0 if reading is None else (1.0 + math.tanh(reading.margin / 2.0)) / 2.0
