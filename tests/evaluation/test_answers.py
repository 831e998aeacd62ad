"""Grading answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rwkv_rag.evaluation.answers import Graded, best_sentence, figures, grade
from rwkv_rag.evaluation.dataset import Row
from rwkv_rag.evaluation.pool import passage_hit
from rwkv_rag.rag.citations import Given
from rwkv_rag.types import Answer, Citation, Delta

ROW = Row("1", "zh", "made", "", "灯塔建于1875年。塔高31米。", "灯塔建于哪年？", ("1875年",), True)
HIT = passage_hit(ROW)


def graded(answer: Answer, row: Row = ROW) -> Graded:
    events: list[Delta | Answer] = [Delta("…"), answer]
    return grade(row, events, Given([HIT]))


def cited(start: int, end: int, quote: str) -> Citation:
    return Citation(HIT.chunk.document, None, start, end, quote, HIT.chunk.id)


def test_an_answer_is_compared_and_its_citations_are_checked_again() -> None:
    good, forged = cited(4, 9, "1875年"), cited(4, 9, "1999年")
    found = graded(Answer("1875年", False, (good, forged), (HIT,)))
    assert (found.em, found.f1, found.cited, found.valid) == (1.0, 1.0, 2, 1)
    assert 0 < found.baseline < 1


def test_a_refusal_scores_nothing_however_it_is_worded() -> None:
    found = graded(Answer("1875年", True))
    assert (found.em, found.f1, found.refused) == (0.0, 0.0, True)


def test_the_figures_count_each_kind_of_question_for_itself() -> None:
    right = graded(Answer("1875年", False, (cited(4, 9, "1875年"),), (HIT,)))
    silent = graded(Answer("没有", True))
    none = replace(ROW, answers=(), answerable=False)
    caught, missed = graded(Answer("没有", True), none), graded(Answer("31米", False), none)
    assert figures([right, silent, caught, missed], refusals=True) == {
        "n": 4,
        "em": 0.5,
        "f1": 0.5,
        "refusal_recall": 0.5,
        "false_refusals": 0.5,
        "citations_valid": 1.0,
    }


def test_refusals_are_left_out_where_they_prove_nothing() -> None:
    found = figures([graded(Answer("没有", True))], refusals=False)
    assert found["refusal_recall"] is None and found["citations_valid"] is None


@pytest.mark.parametrize(("passage", "best"), [(ROW.passage, "灯塔建于1875年。"), ("", "")])
def test_the_baseline_is_the_sentence_that_shares_most(passage: str, best: str) -> None:
    assert best_sentence(ROW.question, passage) == best
