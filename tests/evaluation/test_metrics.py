"""The figures of an evaluation, worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.evaluation.metrics import exact_match, f1, hit_at, mean, mrr_at, tokens


def test_chinese_counts_characters_and_whole_latin_words_and_numbers() -> None:
    assert tokens("他于1875年加入ＮＡＳＡ，3.5米！", "zh") == [
        "他", "于", "1875", "年", "加", "入", "nasa", "3.5", "米",
    ]  # fmt: skip


def test_english_is_compared_without_case_articles_and_punctuation() -> None:
    assert exact_match("The Lighthouse!", ["a lighthouse"], "en") == 1.0
    assert exact_match("lighthouses", ["lighthouse"], "en") == 0.0


@pytest.mark.parametrize(
    ("answer", "truths", "language", "value"),
    [
        ("十二天", ["十二天"], "zh", 1.0),
        ("病假十二天", ["十二天"], "zh", 2 * (3 / 5) * 1 / (3 / 5 + 1)),
        ("on the island", ["island"], "en", 2 * (1 / 2) * 1 / (1 / 2 + 1)),
        ("red red", ["red"], "en", 2 / 3),
        ("年", ["月"], "zh", 0.0),
        ("", ["月"], "zh", 0.0),
        ("十二天", ["十天", "十二天"], "zh", 1.0),
        ("十二天", [], "zh", 0.0),
    ],
)
def test_f1_is_the_best_harmonic_mean(
    answer: str, truths: list[str], language: str, value: float
) -> None:
    assert f1(answer, truths, language) == pytest.approx(value)  # type: ignore[arg-type]


@given(st.text(max_size=20), st.text(max_size=20), st.sampled_from(["zh", "en"]))
def test_f1_is_symmetric_and_an_exact_match_has_full_f1(
    one: str, other: str, language: str
) -> None:
    value = f1(one, [other], language)  # type: ignore[arg-type]
    assert 0 <= value <= 1
    assert value == pytest.approx(f1(other, [one], language))  # type: ignore[arg-type]
    if exact_match(one, [other], language):  # type: ignore[arg-type]
        assert value == 1.0


def test_ranks_count_from_one_and_none_is_a_miss() -> None:
    ranks = [1, 2, 7, None]
    assert hit_at(ranks, 1) == 0.25 and hit_at(ranks, 5) == 0.5 and hit_at(ranks, 10) == 0.75
    assert mrr_at(ranks, 10) == pytest.approx((1 + 1 / 2 + 1 / 7) / 4)
    assert mrr_at(ranks, 5) == pytest.approx((1 + 1 / 2) / 4)


def test_the_mean_of_nothing_is_zero() -> None:
    assert mean([]) == 0.0
