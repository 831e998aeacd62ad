"""Questions made from running text ask for what was taken out, where it was taken out."""

from __future__ import annotations

import random
import re

import cloze
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

WORDS = st.text(alphabet="灯塔高建于年 ab1,。", max_size=30)
PIECES = "灯塔 高 工程师 一八七五年 建成 ， 、 的 tower the was built in （ ） 1875 Oakford"
SENTENCES = st.lists(st.sampled_from([*PIECES.split(), " "]), max_size=14).map("".join)
MARKS = sorted({m for kinds in cloze.ASKED.values() for ms in kinds.values() for m in ms}, key=len)
MARK = re.compile("|".join(map(re.escape, reversed(MARKS))))


@given(SENTENCES, st.integers(0, 99))
def test_a_blank_is_a_stretch_of_its_sentence(sentence: str, seed: int) -> None:
    spot = cloze.blank(sentence, random.Random(seed))
    if spot is None:
        return
    assert 0 <= spot.start < spot.end <= len(sentence)
    assert sentence[spot.end - 1] not in " ，。、；：,.;:!?！？）(（"
    assert any(spot.kind in kinds for kinds in cloze.ASKED.values())


def test_a_sentence_of_single_characters_and_repetitions_has_no_blank() -> None:
    for sentence in ("", "，。", "灯塔，灯塔，灯塔"):
        assert cloze.blank(sentence, random.Random(0)) is None


@pytest.mark.parametrize(
    ("sentence", "facts"),
    [
        ("诗人李白写于1875年。", {"1875年": "time", "李白": "person"}),
        ("浙江省的灯塔有一些，高31米。", {"浙江省": "place", "31米": "number"}),
        ("The tower in New York has 64 rooms.", {"New York": "name", "64": "number"}),
        ("It was built in 1875 and 1875 again.", {}),  # which of the two?
    ],
)
def test_facts_are_asked_for_by_what_they_are(sentence: str, facts: dict[str, str]) -> None:
    found = [cloze.blank(sentence, random.Random(seed)) for seed in range(60)]
    kinds = {sentence[s.start : s.end]: s.kind for s in found if s and s.kind != "word"}
    assert kinds == facts


@given(WORDS, WORDS, st.integers(0, 99))
@example("前" * 80, "后" * 80, 1)
def test_a_shortened_question_keeps_what_stands_next_to_the_blank(
    before: str, after: str, seed: int
) -> None:
    question = cloze.shorten(before, after, "什么", random.Random(seed))
    assert len(question) <= 40 + len("什么？") + 40
    if question.endswith("什么？"):  # the mark at the end: what is left reads on over the blank
        assert question.removesuffix("什么？") in before + after
    else:
        left, right = question.split("什么")
        assert before.endswith(left) and after.startswith(right)
        assert len(left) >= min(8, len(before)) and len(right) >= min(8, len(after))


@given(st.lists(st.sampled_from(["the", "towers", "of", "a", "coast"]), max_size=40), st.data())
def test_english_is_cut_between_words(words: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(words)))
    before, after = " ".join([*words[:at], ""]), " ".join(["", *words[at:]])
    question = cloze.shorten(before, after, "what", random.Random(data.draw(st.integers(0, 99))))
    assert set(re.findall("[a-z]+", question)) <= {*words, "what"}


def test_cloze_rows_point_at_what_was_taken_out() -> None:
    texts = [
        f"第{n}座灯塔由工程师李明远设计，高{n + 20}米。它在{1800 + n}年的秋天第一次点亮，照着海湾。"
        f"守塔的人一家住在{n}号石屋里，靠捕鱼和种菜为生，很少到镇上去。"
        for n in range(60)
    ]
    rows = list(cloze.cloze_rows(texts))
    there = [row for row in rows if row.start >= 0]
    assert 0.1 < 1 - len(there) / len(rows) < 0.3  # one in five has lost its sentence
    for question, passage, start, end, _ in there:
        kept = MARK.split(question)
        near = passage[max(0, start - 45) : start] + passage[end : end + 45]
        assert passage[start:end].strip()
        assert all(part.strip(" 。，,.？") in near for part in kept)
