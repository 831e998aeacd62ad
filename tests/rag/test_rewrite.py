"""Follow-up questions read with the turns before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.rag.rewrite import TURNS, points_back, readings, remembered
from rwkv_rag.types import Answer, Turn


def turns(*questions: str) -> list[Turn]:
    return [Turn(question, "") for question in questions]


def test_of_a_refusal_only_the_question_is_remembered() -> None:
    assert remembered("几天？", Answer("十天", refused=False)) == Turn("几天？", "十天")
    assert remembered("几天？", Answer("没有找到。", refused=True)) == Turn("几天？", "")


def test_without_history_a_question_is_read_as_typed() -> None:
    assert readings("那病假呢？", []) == ("那病假呢？",)


@pytest.mark.parametrize(
    ("earlier", "question", "reading"),
    [
        ("公司年假有几天？", "那病假呢？", "公司病假有几天？"),
        ("公司年假有几天？", "产假呢", "公司产假有几天？"),
        (
            "How many days of annual leave do I get?",
            "What about sick leave?",
            "How many days of sick leave do I get?",
        ),
    ],
)
def test_a_new_topic_of_the_same_kind_takes_the_place_of_the_old_one(
    earlier: str, question: str, reading: str
) -> None:
    assert readings(question, turns(earlier)) == (reading, question)


def test_a_third_topic_is_put_into_the_last_full_question() -> None:
    history = turns("公司年假有几天？", "那病假呢？")
    assert readings("那么产假呢？", history)[0] == "公司产假有几天？"


def test_a_pronoun_is_read_with_the_words_of_the_turn_before() -> None:
    history = turns("When was the lighthouse built?")
    assert readings("And how tall is it?", history) == (
        "And how tall is it? lighthouse built",
        "And how tall is it?",
    )
    assert "灯塔" in readings("它有多高？", turns("灯塔是哪年建成的？"))[0]


def test_a_chain_of_pronouns_leads_back_to_the_question_that_names_the_thing() -> None:
    history = turns("When was the lighthouse built?", "And how tall is it?")
    assert "lighthouse" in readings("Who keeps it?", history)[0]


def test_a_short_answer_lends_its_words_and_a_long_quotation_does_not() -> None:
    named = [Turn("谁设计了灯塔？", "李明远")]
    assert "李明远" in readings("他哪年出生？", named)[0]
    quoted = [Turn("谁设计了灯塔？", "灯塔由当时刚从海外学成归来的年轻工程师李明远主持设计。")]
    assert "工程师" not in readings("他哪年出生？", quoted)[0]


def test_a_short_question_without_a_pronoun_is_first_taken_as_a_new_topic() -> None:
    found = readings("总经理是谁？", turns("公司年假有几天？"))
    assert found[0] == "总经理是谁？" and len(found) == 2


def test_a_full_question_on_a_new_topic_is_left_alone() -> None:
    question = "How do I clean the water filter of the glass jug?"
    assert readings(question, turns("When was the lighthouse built?")) == (question,)


@pytest.mark.parametrize(
    "question", ["其实验室在哪个城市？", "How many lighthouses are in Norway?"]
)
def test_words_that_only_look_like_pronouns_do_not_point_back(question: str) -> None:
    assert not points_back(question)


def test_turns_older_than_six_are_forgotten() -> None:
    history = turns("When was the lighthouse built?", *["And is it tall?"] * TURNS)
    assert "lighthouse" not in " ".join(readings("Who keeps it?", history))


@given(st.text(max_size=60), st.lists(st.builds(Turn, st.text(max_size=40), st.text(max_size=40))))
def test_the_question_as_typed_is_always_among_its_readings(
    question: str, history: list[Turn]
) -> None:
    found = readings(question, history)
    assert question in found and 1 <= len(found) <= 2
