"""The table of unselected answers for a model's card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import examples
from rwkv_rag.evaluation.dataset import read
from rwkv_rag.types import Reading, SourceSpan


class Pointing:
    """A reader that quotes the passage's first three characters with a fixed margin."""

    def __init__(self, margin: float) -> None:
        self.margin = margin

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        return [Reading(SourceSpan(n, 0, 3), self.margin) for n, _ in enumerate(passages)]


def test_an_answer_is_a_quotation_and_a_refusal_a_dash(data: Path) -> None:
    row = read(data / "qa/dev.jsonl.xz")[0]
    assert examples.answer(Pointing(0.1), row) == row.passage[:3]
    assert examples.answer(Pointing(-0.1), row) == examples.REFUSED


@pytest.mark.parametrize("answerable", [True, False])
def test_a_line_scores_answers_and_refusals(data: Path, answerable: bool) -> None:
    rows = [row for row in read(data / "qa/dev.jsonl.xz") if row.answerable == answerable]
    right = rows[0].answers[0] if answerable else examples.REFUSED
    wrong = examples.REFUSED if answerable else "a | b"
    assert examples.line(rows[0], right).endswith("| 1.00 |")
    assert examples.line(rows[0], wrong).endswith("| 0.00 |")
    assert examples.line(rows[0], wrong).replace("\\|", "").count("|") == 5
