"""The language a client asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.api.language import language_of


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, "en"),
        ("", "en"),
        ("zh", "zh"),
        ("zh-Hant-TW,zh;q=0.9", "zh"),
        ("fr, zh;q=0.2", "zh"),
        ("en;q=0.3,zh;q=0.4", "zh"),
        ("zh;q=0", "en"),
        ("zh;q=nan, en;q=0.1", "en"),
        ("*", "en"),
    ],
)
def test_the_best_language_of_ours_counts(header: str | None, expected: str) -> None:
    assert language_of(header, "en") == expected


@given(st.text())
def test_no_header_is_too_odd(header: str) -> None:
    assert language_of(header, "zh") in ("zh", "en")
