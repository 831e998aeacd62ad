"""Sentences, their headings, and what share of a question they hold."""

from __future__ import annotations

import pytest

from rwkv_rag.rag.places import is_heading, places, share, weights
from rwkv_rag.rag.quote import quotes
from rwkv_rag.rag.sentences import sentences

MANUAL = "## 更换滤芯\n使用寿命约为十二个月。\n\n3. Opening hours\nFrom eight to five.\n"


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        (MANUAL, ["## 更换滤芯", "3. Opening hours"]),
        ("三、休假\n年假十天。", ["三、休假"]),
        ("第二章 休假\n年假十天。", ["第二章 休假"]),
        ("Members' Handbook\n\nThe garden is old.", ["Members' Handbook"]),
        ("年假十天\n病假五天", []),
        ("年假十天", []),
        ("1. Put the jug down.\n2. Fill it.", []),
        ("The garden opens in April. It is\n\nold", []),
    ],
)
def test_headings_are_told_from_lines_of_text(text: str, headings: list[str]) -> None:
    found = [text[slice(*span)] for span in sentences(text) if is_heading(text, span)]
    assert found == headings


def test_a_heading_speaks_for_the_sentence_below_and_is_not_the_answer() -> None:
    best = quotes("滤芯多久更换？", [MANUAL])[0]
    assert MANUAL[best.start : best.end] == "使用寿命约为十二个月。"


def test_the_heading_of_a_whole_passage_counts_too() -> None:
    passages = ["每年十天。", "每年十二天。"]
    best = quotes("病假每年几天？", passages, headings=["年假", "病假"])[0]
    assert best.passage == 1


def test_a_word_of_the_question_outweighs_one_of_the_conversation() -> None:
    found = places(["The lighthouse was built in 1875. It is 31 metres tall."])
    wanted = weights(found, "How tall is it?", "How tall is it? lighthouse built")
    built, tall = (share(place, wanted) for place in found)
    assert tall > built > 0


def test_a_question_without_content_has_no_share_anywhere() -> None:
    found = places(["年假十天。"])
    assert share(found[0], weights(found, "？")) == 0.0
