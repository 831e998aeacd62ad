"""Which language a question is in."""

from __future__ import annotations

import pytest

from rwkv_rag.rag.language import detect


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("公司年假有几天？", "zh"),
        ("中欧新石器時代大約是公元前多少年?", "zh"),
        ("RWKV-7 和 LSTM 有什么不同？", "zh"),
        ("Transformer 是什么？", "zh"),
        ("When was the lighthouse built?", "en"),
        ("What does the word 年假 mean?", "en"),
        ("42?", "en"),
    ],
)
def test_a_question_is_in_the_language_of_most_of_its_words(text: str, language: str) -> None:
    assert detect(text) == language


def test_a_text_without_words_takes_the_default() -> None:
    assert detect("1984 ?", default="zh") == "zh"
