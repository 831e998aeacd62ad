"""Reranking by reading: a text is as good as the answer it holds.

Serves where a model's own reranking head was measured not to help: how surely a reader answers from
a text puts the right one first more often, and knows when none does. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Margins = Callable[[str, Sequence[str]], Sequence[float]]
"""How surely each of some texts answers a question; above 0: likelier than not."""


class AnswerReranker:
    """Implements `interfaces.Reranker` on the margins of a reader."""

    def __init__(self, margins: Margins) -> None:
        self._margins = margins

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score in 0..1 for each text; above a half: likelier to answer `query` than not."""
        return [
            (1.0 + math.tanh(margin / 2.0)) / 2.0 if text.strip() else 0.0
            for margin, text in zip(self._margins(query, texts), texts, strict=True)
        ]
