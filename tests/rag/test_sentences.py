"""Where sentences and clauses end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.rag.sentences import clauses, sentences

MIXED = st.text(alphabet="年假有十天。！？；，、\n .!?;,3aB“”）\t", max_size=400)


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@given(MIXED, st.integers(min_value=5, max_value=60))
def test_sentences_lie_in_order_hold_everything_but_white_space_and_keep_the_limit(
    text: str, limit: int
) -> None:
    spans = sentences(text, limit)
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
    assert all(0 < b - a <= limit for a, b in spans)
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


@given(MIXED)
def test_clauses_hold_everything_of_their_sentence_but_white_space(text: str) -> None:
    for span in sentences(text):
        held = "".join("".join(text[a:b].split()) for a, b in clauses(text, span))
        assert held == "".join(text[slice(*span)].split())


def test_chinese_marks_end_a_sentence_and_closing_quotes_go_with_it() -> None:
    assert split("他说：“年假十天。”病假呢？没有规定！") == [
        "他说：“年假十天。”",
        "病假呢？",
        "没有规定！",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "The tower is 3.5 metres wide.",
        "Dr. Smith met Mr. J. K. Jones of the U.S. Navy at 5 p.m. on a ship.",
        "See Fig. 3 for the plan, e.g. the stairs.",
        "占总数的3.5%，比去年高0.2个百分点。",
        "1. Put the jug on the table.",
        'He asked "Why?" and left.',
    ],
)
def test_numbers_and_abbreviations_do_not_end_a_sentence(text: str) -> None:
    assert split(text) == [text]


def test_english_sentences_end_at_a_full_stop_before_a_capital() -> None:
    text = "It was built in 1875. The keeper lived there! Did he?"
    assert split(text) == ["It was built in 1875.", "The keeper lived there!", "Did he?"]


def test_headings_and_list_items_stand_alone() -> None:
    text = "三、休假\n年假为十天\n- 病假五天\n- 婚假三天"
    assert split(text) == ["三、休假", "年假为十天", "- 病假五天", "- 婚假三天"]


def test_a_line_the_page_broke_is_read_on() -> None:
    text = "The lighthouse stands on the northern end of the\nisland and was built in 1875."
    assert split(text) == [text]
    chinese = "员工在本公司连续工作满一年以上的，可以享受带薪\n年假十天。"
    assert split(chinese) == [chinese]


def test_a_blank_line_ends_a_sentence_even_without_a_mark() -> None:
    text = "The lighthouse stands on the northern end of the island\n\nIt was built in 1875."
    assert len(split(text)) == 2


def test_clauses_end_at_commas_but_not_inside_numbers() -> None:
    text = "It cost 1,200,000 crowns, said the mayor: too much"
    assert [text[a:b] for a, b in clauses(text, (0, len(text)))] == [
        "It cost 1,200,000 crowns,",
        "said the mayor:",
        "too much",
    ]
