"""A text is ranked by how surely it answers."""

from __future__ import annotations

import pytest

from rwkv_rag.encoders.by_answer import AnswerReranker
from rwkv_rag.testing import OverlapReader


def test_the_text_that_answers_comes_first_and_an_empty_one_last() -> None:
    texts = ["Dogs are kept on a lead.", "", "The annual fee is 48 pounds.", "The fee was raised."]
    scores = AnswerReranker(OverlapReader()).rerank("What is the annual fee?", texts)
    assert sorted(range(4), key=lambda n: -scores[n]) == [2, 3, 0, 1]
    assert scores[1] == 0.0 and scores[2] > 0.5 > scores[0]


@pytest.mark.parametrize("floor", [-1e9, 1e9])
def test_scores_stay_between_none_and_one(floor: float) -> None:
    assert 0.0 <= AnswerReranker(OverlapReader(floor)).rerank("a", ["a b"])[0] <= 1.0
