from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.knowledge.overlap import rescored


def test_the_text_that_holds_the_rare_character_wins_a_tie() -> None:
    texts = ["产品保修两年。", "产品保修三年。", "产品保固三年。"]
    scores = rescored("产品保固几年？", texts, [1.0, 1.0, 1.0])
    assert scores.index(max(scores)) == 2


def test_the_text_that_quotes_the_question_wins_a_tie() -> None:
    texts = ["the period of warranty", "the warranty period", "period warranty the"]
    scores = rescored("THE warranty period?", texts, [2.0, 2.0, 2.0])
    assert scores.index(max(scores)) == 1


@given(st.text(max_size=40), st.lists(st.text(max_size=60), max_size=6))
def test_every_score_lies_within_the_sum_of_the_weights(question: str, texts: list[str]) -> None:
    scores = rescored(question, texts, [1.0] * len(texts))
    assert len(scores) == len(texts)
    assert all(1.0 <= score <= 1.8 + 1e-9 for score in scores)
