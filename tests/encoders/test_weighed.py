"""The weighed reader: the linear score, the head's score, and their sum."""

from __future__ import annotations

import numpy as np
import pytest

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.manifest import Reading as Weights
from rwkv_rag.encoders.reader import ANSWER_TOKENS, LEAST, Judgement, RwkvReader
from rwkv_rag.encoders.weighed import OWN, WeighedReader, weighed
from rwkv_rag.rag.spans import SpanReader, proposals

PASSAGE = "王冕是诸暨人，自小在秦家放牛。The gates close at nine 😀. 北京是中国的首都。"
QUESTION = "王冕在谁家放牛？"


def score_of(judgement: Judgement, start: int, end: int) -> float:
    return float(judgement.scores([(start, end)])[0])


def test_weight_zero_is_the_span_reader_and_loads_no_head() -> None:
    def never() -> RwkvReader:
        raise AssertionError("the head was loaded")

    reader = WeighedReader(never, {"zh": Weights()})
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
        assert score_of(judgement, start, end) == pytest.approx(float(wanted))


def test_chances_of_one_window_are_probabilities(base: Base) -> None:
    (judgement,) = RwkvReader(base).judge(QUESTION, [PASSAGE[:12]])
    chances = np.where(judgement.chances > LEAST, np.exp(judgement.chances), 0.0)
    assert (chances.sum(axis=0) < 1).all()  # the rest is "not answered here"
    assert (judgement.chances >= LEAST).all()


@pytest.mark.parametrize("weight", [0.3, 5.0])
def test_best_span_has_the_best_sum(base: Base, weight: float) -> None:
    head = RwkvReader(base)
    (reading,) = WeighedReader(lambda: head, {"zh": Weights(span=weight)}).read(QUESTION, [PASSAGE])
    (judgement,) = head.judge(QUESTION, [PASSAGE])
    sums = {
        span: score + weight * score_of(judgement, *(len(PASSAGE[:at].encode()) for at in span))
        for score, span in proposals(QUESTION, PASSAGE).spans
    }
    assert reading is not None
    assert sums[reading.span.start, reading.span.end] == pytest.approx(max(sums.values()))


def test_the_head_adds_spans_of_its_own(base: Base) -> None:
    """Below the best linear score by `outside`, and only those that the linear score lacks."""
    head = RwkvReader(base)
    (judgement,) = head.judge(QUESTION, [PASSAGE])
    linear = proposals(QUESTION, PASSAGE)
    before = dict.fromkeys(weighed(linear, judgement, PASSAGE, Weights(span=1.0)).spans)
    after = weighed(linear, judgement, PASSAGE, Weights(span=1.0, outside=2.0)).spans
    added = [each for each in after if each not in before]
    assert {*before} <= {*after} and 0 < len(added) <= OWN
    assert not {span for _, span in added} & {span for _, span in before}
    for score, (start, end) in added:
        assert 0 <= start < end <= len(PASSAGE)
        first, last = (len(PASSAGE[:at].encode()) for at in (start, end))
        head_score = score_of(judgement, first, last)
        assert score == pytest.approx(max(linear.spans)[0] - 2.0 + head_score)


def test_the_likeliest_spans_are_the_best_of_all(base: Base) -> None:
    (judgement,) = RwkvReader(base).judge(QUESTION, [PASSAGE])
    starts = [0, *judgement.ends.tolist()]
    every = {
        (starts[first], starts[last + 1]): float(
            judgement.chances[first, 0] + judgement.chances[last, 1]
        )
        for first in range(len(judgement.ends))
        for last in range(first, min(first + ANSWER_TOKENS, len(judgement.ends)))
    }
    found = judgement.spans(5)
    assert len(found) == 5
    assert [every[span] for span in found] == sorted(every.values(), reverse=True)[:5]


def test_long_and_odd_passages_are_read(base: Base) -> None:
    head = RwkvReader(base)
    weights = Weights(span=0.3, outside=1.0)
    reader = WeighedReader(lambda: head, {"zh": weights, "en": weights})
    passages = ["放牛" * 900, "\ud800 broken", "😀" * 200, PASSAGE]
    readings = reader.read(QUESTION, passages)
    for reading, passage in zip(readings, passages, strict=True):
        assert reading is None or 0 <= reading.span.start < reading.span.end <= len(passage)


def test_the_margin_is_what_both_believe(base: Base) -> None:
    head = RwkvReader(base)
    passages = ["没有关系的一句话。", PASSAGE, ""]
    weights = Weights(bias=-0.25, linear=2.0, head=0.5)
    readings = WeighedReader(lambda: head, {"zh": weights}).read(QUESTION, passages)
    judged = head.judge(QUESTION, passages)
    for reading, judgement, passage in zip(readings[:2], judged, passages, strict=False):
        assert reading is not None
        linear = proposals(QUESTION, passage).margin
        assert reading.margin == pytest.approx(-0.25 + 2.0 * linear + 0.5 * judgement.margin)
    assert readings[2] is None


def test_the_margin_of_a_judgement_is_that_of_the_head_alone(base: Base) -> None:
    head = RwkvReader(base)
    passages = [PASSAGE, "放牛" * 300, "The gates close."]
    for reading, judgement in zip(
        head.read(QUESTION, passages), head.judge(QUESTION, passages), strict=True
    ):
        assert reading is not None
        assert judgement.margin == pytest.approx(reading.margin + base.manifest.read_margin)


def test_a_passage_without_a_sentence_is_left_as_it_is(base: Base) -> None:
    (judgement,) = RwkvReader(base).judge(QUESTION, ["\n"])
    empty = proposals(QUESTION, "\n")
    assert weighed(empty, judgement, "\n", Weights(span=1.0, head=1.0)) == empty
