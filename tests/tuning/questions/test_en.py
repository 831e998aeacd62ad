"""English sentences are asked for what they tell, in the order of a question."""

from __future__ import annotations

import pytest

from rwkv_rag.tuning.questions import of_heading, question


@pytest.mark.parametrize(
    ("sentence", "asked"),
    [
        ("The annual fee is 48 pounds for a full plot and 26 for a half.",
         "What is the annual fee for a full plot?"),
        ("There is a waiting list, and the average wait is about fourteen months.",
         "What is the average wait?"),
        ("The Harbour Garden was founded in 1987 by dock workers.",
         "When was the Harbour Garden founded?"),
        ("Harvest day is held on the last Saturday of September.", "When is harvest day held?"),
        ("There are three compost bays behind the greenhouse.",
         "How many compost bays are there behind the greenhouse?"),
        ("Six hives stand on the shed's roof.", "How many hives stand on the shed's roof?"),
        ("Every member gives twelve hours of common work a year.",
         "How many hours of common work does every member give a year?"),
        ("Damage must be reported to the secretary within two days.",
         "Within how many days must damage be reported to the secretary?"),
        ("A key must be reported at once, because the locks have to be changed.",
         "Why must a key be reported at once?"),
        ("Structures may be no higher than two metres.", "How high may structures be?"),
        ("Trees and bamboo must not be planted on plots.",
         "May trees and bamboo be planted on plots?"),
        ("Members may grow vegetables, herbs and soft fruit.", "What may members grow?"),
        ("Anyone who lives nearby may apply for a plot.", "Who may apply for a plot?"),
        ("The mowers may be used only by members.", "By whom may the mowers be used?"),
        ("E2: the motor is too hot and stops.", "What does E2 stand for?"),
        ("Dr Hill is the chair of the committee.", "What is Dr Hill?"),
    ],
)  # fmt: skip
def test_a_sentence_becomes_a_question(sentence: str, asked: str) -> None:
    assert question(sentence) == asked


@pytest.mark.parametrize(
    "sentence",
    [
        "It covers 1.4 hectares and has 96 plots.",
        "They are looked after by the beekeeping group.",
        "This must be paid within two days.",
        "Hours that were not worked are charged.",
        "During a drought the committee can forbid hoses.",
        "Nice weather today.",
    ],
)
def test_what_only_its_neighbours_explain_gives_no_question(sentence: str) -> None:
    assert question(sentence) == ""


def test_a_heading_is_asked_about_only_when_the_sentence_speaks_of_it() -> None:
    said = "用干燥的棉签擦拭机身右侧的颗粒物传感器。"
    assert of_heading("四、保养 > 4.2 清洁传感器", said) == "怎样清洁传感器？"
    assert of_heading("一、产品规格", said) == ""
    asked = of_heading("Compost and waste", "The compost bays stand in a row.")
    assert asked == "What do the documents say about compost and waste?"
