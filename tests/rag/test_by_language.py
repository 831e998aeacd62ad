"""Questions go to the reader of their language."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rwkv_rag.rag.by_language import ByLanguage
from rwkv_rag.types import Language, Reading, SourceSpan


class Signed:
    """A reader whose margin tells who answered."""

    def __init__(self, margin: float) -> None:
        self._margin = margin

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        return [Reading(SourceSpan(n, 0, 1), self._margin) for n in range(len(passages))]


@pytest.mark.parametrize(
    ("question", "margin"),
    [
        ("谁写了红楼梦？", 1.0),
        ("誰寫了紅樓夢？", 1.0),
        ("Who wrote it?", 2.0),
        ("RWKV 是什么？", 1.0),
    ],
)
def test_the_reader_of_the_language_answers(question: str, margin: float) -> None:
    readers: dict[Language, Signed] = {"zh": Signed(1.0), "en": Signed(2.0)}
    found = ByLanguage(readers).read(question, ["一", "two"])
    assert [reading and reading.margin for reading in found] == [margin, margin]
