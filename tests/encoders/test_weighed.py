"""The weighed reader: the linear score, the head's score, and their sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.reader import LEAST, Judgement, RwkvReader
from rwkv_rag.encoders.weighed import WeighedReader
from rwkv_rag.rag.spans import SpanReader, proposals

PASSAGE = "王冕是诸暨人，自小在秦家放牛。The gates close at nine 😀. 北京是中国的首都。"
QUESTION = "王冕在谁家放牛？"


def test_weight_zero_is_the_span_reader_and_loads_no_head() -> None:
    def never() -> RwkvReader:
        raise AssertionError("the head was loaded")

    reader = WeighedReader(never, {"zh": 0.0})
    passages = [PASSAGE, "", "没有关系的一句话。"]
    assert reader.read(QUESTION, passages) == SpanReader().read(QUESTION, passages)


def test_judgement_is_of_the_tokens_that_hold_start_and_end(base: Base) -> None:
    """Every start and end in the passage, against a plain search through the tokens."""
    (judgement,) = RwkvReader(base).judge(QUESTION, [PASSAGE])
    tokens = base.tokenizer.encode(PASSAGE)
    data = PASSAGE.encode()
    holder = [n for n, t in enumerate(tokens) for _ in base.tokenizer.token_bytes(t)]
    assert len(holder) == len(data) and judgement.ends[-1] == len(data)
    for start in range(0, len(data) - 1, 3):
        end = min(start + 5, len(data))
        wanted = judgement.chances[holder[start], 0] + judgement.chances[holder[end - 1], 1]
        assert judgement.score(start, end) == pytest.approx(float(wanted))


def test_chances_of_one_window_are_probabilities(base: Base) -> None:
    (judgement,) = RwkvReader(base).judge(QUESTION, [PASSAGE[:12]])
    chances = np.exp(judgement.chances)
    assert (chances.sum(axis=0) < 1).all()  # the rest is "not answered here"
    assert (judgement.chances >= LEAST).all()


@pytest.mark.parametrize("weight", [0.3, 5.0])
def test_best_span_has_the_best_sum(base: Base, weight: float) -> None:
    head = RwkvReader(base)
    (reading,) = WeighedReader(lambda: head, {"zh": weight}).read(QUESTION, [PASSAGE])
    (judgement,) = head.judge(QUESTION, [PASSAGE])
    sums = {
        span: score
        + weight
        * judgement.score(len(PASSAGE[: span[0]].encode()), len(PASSAGE[: span[1]].encode()))
        for score, span in proposals(QUESTION, PASSAGE).spans
    }
    assert reading is not None
    assert sums[reading.span.start, reading.span.end] == pytest.approx(max(sums.values()))


def test_long_and_odd_passages_are_read(base: Base) -> None:
    head = RwkvReader(base)
    reader = WeighedReader(lambda: head, {"zh": 0.3, "en": 0.3})
    passages = ["放牛" * 900, "\ud800 broken", "😀" * 200, PASSAGE]
    readings = reader.read(QUESTION, passages)
    for reading, passage in zip(readings, passages, strict=True):
        assert reading is None or 0 <= reading.span.start < reading.span.end <= len(passage)


def test_head_reads_only_the_likeliest_passage(base: Base) -> None:
    head = RwkvReader(base)
    asked: list[str] = []

    class Listening:
        def judge(self, question: str, passages: Sequence[str]) -> list[Judgement]:
            asked.extend(passages)
            return head.judge(question, passages)

    passages = ["没有关系的一句话。", PASSAGE, "另一句话。"]
    readings = WeighedReader(Listening, {"zh": 0.3}).read(QUESTION, passages)
    assert asked == [PASSAGE]
    assert max(filter(None, readings), key=lambda each: each.margin).span.source == 1
