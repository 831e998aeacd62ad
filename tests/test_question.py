"""One limit and one wording for questions, wherever they are asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.errors import InputError
from rwkv_rag.question import LONGEST_QUESTION, checked_question
from rwkv_rag.rag.answering import Answerer
from rwkv_rag.rag.pipeline import Pipeline, answer_from
from rwkv_rag.testing import MemoryKnowledge


@pytest.mark.parametrize("question", ["", " \n\t　"])
def test_white_space_is_no_question(question: str) -> None:
    with pytest.raises(InputError, match="the question is empty; type"):
        checked_question(question)


def test_the_longest_question_is_one_and_a_longer_text_is_none() -> None:
    assert len(checked_question(" " + "长" * LONGEST_QUESTION)) == LONGEST_QUESTION
    with pytest.raises(InputError, match="8,001 characters; the limit is 8,000: shorten"):
        checked_question("长" * (LONGEST_QUESTION + 1))


@given(st.text(st.characters(), min_size=1, max_size=50).filter(str.strip))
def test_what_is_left_can_be_written_down(question: str) -> None:
    asked = checked_question(question)
    assert asked == asked.strip() and asked.encode().decode() == asked


def test_whoever_asks_hears_the_same() -> None:
    heard = set()
    for ask in (
        lambda: checked_question(""),
        lambda: Pipeline(MemoryKnowledge(), Answerer()).answer("", kb="kb"),
        lambda: answer_from(Answerer(), "", []),
    ):
        with pytest.raises(InputError) as caught:
            ask()
        heard.add(str(caught.value))
    assert len(heard) == 1
