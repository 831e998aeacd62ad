"""Reference marks in streamed text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.rag.marks import MarkFilter, last_statement


def first_three(_: str, number: int) -> bool:
    return 1 <= number <= 3


def filtered(pieces: list[str]) -> tuple[list[str], str]:
    marks = MarkFilter(first_three)
    shown = [marks.feed(piece) for piece in pieces]
    shown.append(marks.finish())
    return shown, marks.text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("It is tall [1].", "It is tall [1]."),
        ("高三十米［2］。", "高三十米[2]。"),
        ("高三十米【3】。", "高三十米[3]。"),
        ("both [1,2] hold", "both [1][2] hold"),
        ("two、[1、3]", "two、[1][3]"),
        ("made up [7].", "made up."),
        ("half true [2, 9].", "half true [2]."),
        ("an array [i] and [1.5] stay", "an array [i] and [1.5] stay"),
        ("cut short [1", "cut short [1"),
    ],
)
def test_marks_are_normalised_and_those_without_a_passage_are_stripped(
    raw: str, clean: str
) -> None:
    assert filtered([raw])[1] == clean


@given(st.text(alphabet="a 。[]［］【】,，1239", max_size=40), st.data())
def test_what_is_shown_does_not_depend_on_how_the_text_arrives(
    raw: str, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    shown, text = filtered(pieces)
    assert "".join(shown) == text == filtered([raw])[1]


def test_a_mark_is_held_back_until_it_is_known_to_be_one() -> None:
    shown, _ = filtered(["tall ", "[", "9", "] and"])
    assert shown[0] == "tall" and "[" not in "".join(shown)


def test_the_statement_a_mark_belongs_to_is_the_sentence_before_it() -> None:
    asked: list[str] = []

    def remember(statement: str, _: int) -> bool:
        asked.append(statement)
        return True

    MarkFilter(remember).feed("It is old. It is 31.5 m tall [1][2]. 年假十天。病假十二天。[3] ")
    assert asked == ["It is 31.5 m tall", "It is 31.5 m tall", "病假十二天。"]


def test_a_text_without_a_sentence_end_is_one_statement() -> None:
    assert last_statement("just a few words") == "just a few words"
