"""The terms overlap is measured in."""

from __future__ import annotations

import pytest

from rwkv_rag.rag.terms import content_runs, rarity, stem, terms


@pytest.mark.parametrize(
    ("one", "other"),
    [("keepers", "keeper"), ("built", "Built"), ("cities", "city"), ("worked", "work")],
)
def test_endings_do_not_keep_words_apart(one: str, other: str) -> None:
    assert stem(one) == stem(other)


def test_short_words_keep_their_endings() -> None:
    assert stem("gas") == "gas" and stem("glass") == "glass" and stem("red") == "red"


def test_asking_words_are_no_terms() -> None:
    assert terms("What is it?") == []
    assert content_runs("公司年假有几天？") == ["公司年假", "天"]


def test_chinese_gives_characters_and_bigrams_that_do_not_reach_over_function_words() -> None:
    assert terms("年假的天数") == ["年", "假", "年假", "天", "数", "天数"]


def test_a_term_of_every_text_weighs_less_than_one_of_few() -> None:
    weights = rarity([["a", "b"], ["a"], ["a", "c"]])
    assert weights["a"] < weights["b"] == weights["c"]
    assert min(weights.values()) > 0
