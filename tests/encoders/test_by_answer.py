"""A text is ranked by how surely it answers."""

from __future__ import annotations

import pytest

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.by_answer import AnswerReranker
from rwkv_rag.encoders.manifest import Reading
from rwkv_rag.encoders.reader import RwkvReader
from rwkv_rag.encoders.weighed import WeighedReader

TEXTS = ["Dogs are kept on a lead.", "", "The annual fee is 48 pounds.", "The fee was raised."]
QUESTION = "What is the annual fee?"


def linear() -> WeighedReader:
    def never() -> RwkvReader:
        raise AssertionError("the head was loaded")

    return WeighedReader(never, {})


def test_the_text_that_answers_comes_first_and_an_empty_one_last() -> None:
    scores = AnswerReranker(linear().margins).rerank(QUESTION, TEXTS)
    assert sorted(range(4), key=lambda n: -scores[n]) == [2, 3, 0, 1]
    assert scores[1] == 0.0 and scores[2] > 0.5 > scores[0]


@pytest.mark.parametrize("margin", [-1e9, 1e9])
def test_scores_stay_between_none_and_one(margin: float) -> None:
    assert AnswerReranker(lambda *_: [margin]).rerank("a", ["b"]) == [0.0 if margin < 0 else 1.0]


@pytest.mark.parametrize("weights", [Reading(), Reading(span=0.3, bias=-0.1, linear=0.7, head=0.2)])
def test_margins_are_those_of_the_readings(base: Base, weights: Reading) -> None:
    head = RwkvReader(base)
    reader = WeighedReader(lambda: head, {"en": weights})
    margins = reader.margins(QUESTION, TEXTS)
    for margin, reading in zip(margins, reader.read(QUESTION, TEXTS), strict=True):
        assert reading is None or margin == pytest.approx(reading.margin, abs=1e-5)
