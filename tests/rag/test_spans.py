"""Short answers without a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.rag.sentences import sentences
from rwkv_rag.rag.span_weights import WEIGHTS
from rwkv_rag.rag.spans import SpanReader, candidates, prepare

HISTORY = (
    "灯塔位于岛的北端，由工程师李明远设计，1875年建成，塔高31.5米。"
    "守塔人一家住在塔旁的石屋里。岛上共有23户人家，多以捕鱼为生。"
)
ISLAND = (
    "The lighthouse was designed by Henrik Dahl and completed in 1875. "
    "It is 31.5 metres tall and stands on the northern end of the island. "
    "The keeper lived there with his family."
)


def answer(question: str, passage: str) -> str:
    (reading,) = SpanReader().read(question, [passage])
    assert reading is not None
    return passage[reading.span.start : reading.span.end]


@pytest.mark.parametrize(
    ("question", "passage", "right"),
    [
        ("灯塔是哪一年建成的？", HISTORY, "1875年"),
        ("岛上有多少户人家？", HISTORY, "23户"),
        ("When was the lighthouse completed?", ISLAND, "1875"),
        ("Who designed the lighthouse?", ISLAND, "Henrik Dahl"),
        ("How many metres tall is the lighthouse?", ISLAND, "31.5"),
    ],
)
def test_the_span_that_is_asked_for_is_found(question: str, passage: str, right: str) -> None:
    found = answer(question, passage)
    assert right in found and len(found) <= len(right) + 12


def test_the_margin_is_positive_for_an_answer_and_negative_for_a_stranger() -> None:
    own, other = SpanReader().read(
        "灯塔是哪一年建成的？", [HISTORY, "病假每年不超过十二天，须有证明。"]
    )
    assert own is not None and other is not None
    assert own.margin > 0 > other.margin


def test_a_passage_without_text_has_no_reading() -> None:
    assert SpanReader().read("灯塔？", ["", " \n"]) == [None, None]


def test_every_sign_that_is_counted_has_a_weight_and_the_other_way_round() -> None:
    """A renamed sign would silently weigh nothing."""
    counted: dict[str, set[str]] = {"zh": set(), "en": set()}
    asked = {
        "zh": ["多少人？", "何时？", "谁？", "在哪里？", "为什么？", "怎样？", "灯塔？"],
        "en": ["how many?", "when?", "who?", "where?", "why?", "how?", "which tower?"],
    }
    for language, passage in (("zh", HISTORY), ("en", ISLAND)):
        for question in asked[language]:
            prepared, likely = prepare(question, passage, 3)
            for sentence in likely:
                for _, signs in prepared.signs(passage, sentence):
                    counted[language].update(signs)
    shapes = {"place", "cause", "time", "digit", "number"}  # not every one occurs in this passage
    for language in ("zh", "en"):
        weighed = set(WEIGHTS[language])  # type: ignore[index]
        missing = {
            sign for sign in weighed - counted[language] if sign.split(": ")[-1] not in shapes
        }
        assert {sign for sign in missing if not sign.startswith(("starts", "ends"))} <= {
            f"{kind}: {looks}"
            for kind in ("number", "time", "person", "place", "reason", "account", "thing")
            for looks in ("capital", "all capitals")
        }


@given(
    st.text(alphabet="灯塔高3年，。「」由是 abIn.", max_size=80),
    st.text(alphabet="灯塔几谁ab?", max_size=12),
)
def test_a_reading_is_a_span_inside_one_sentence(passage: str, question: str) -> None:
    (reading,) = SpanReader().read(question, [passage])
    if reading is None:
        assert passage.strip(" ，。.") == "" or not any(
            list(candidates(passage, span, "zh")) for span in sentences(passage)
        )
        return
    span = reading.span
    assert any(a <= span.start < span.end <= b for a, b in sentences(passage))
    assert passage[span.start : span.end].strip()
