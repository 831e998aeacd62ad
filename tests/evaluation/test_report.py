"""Whole evaluations on fakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from rwkv_rag.errors import InputError
from rwkv_rag.evaluation.dataset import Row
from rwkv_rag.evaluation.report import EvaluationMode, Progress, evaluate
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.rag.answering import Answerer, Answering
from rwkv_rag.testing import MemoryKnowledge, OverlapReader
from rwkv_rag.types import Answer, Hit

ROWS = [
    Row(
        "1",
        "zh",
        "a",
        "",
        "灯塔建于1875年。塔里住着守塔人。",
        "灯塔建于哪年？",
        ("灯塔建于1875年。",),
        True,
    ),
    Row("2", "zh", "a", "", "公司年假十天。", "火星上的重力有多大？", (), False),
    Row(
        "3",
        "en",
        "b",
        "",
        "It is 31 metres tall. Seals live here.",
        "How tall?",
        ("31 metres",),
        True,
    ),
]
READER = Answerer(Answering(strategy="read"), reader=OverlapReader(0.2))


class Opened:
    """Counts the bases opened and closed."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    @contextmanager
    def __call__(self) -> Iterator[Knowledge]:
        self.opened += 1
        yield MemoryKnowledge()
        self.closed += 1


def test_gold_mode_reports_answers_and_refusals_and_searches_nothing() -> None:
    report = evaluate(ROWS, mode="gold", answerer=READER)
    assert set(report) >= {"n", "retrieval", "answers", "seconds"} and report["n"] == 3
    assert report["retrieval"] == {}
    assert report["answers"]["zh"] == {
        "n": 2,
        "em": 1.0,
        "f1": 1.0,
        "refusal_recall": 1.0,
        "false_refusals": 0.0,
        "citations_valid": 1.0,
    }
    shared, said, asked = 2, 5, 2  # "it is 31 metres tall" beside "31 metres"
    expected = 2 * shared / (said + asked)
    assert report["answers"]["en"]["f1"] == pytest.approx(expected, abs=1e-4)
    assert report["baseline"]["zh"] == {"f1": 1.0}


class Misquoting(Answerer):
    """Cites what does not stand where it says, after its own check."""

    def __init__(self, *wrong: str) -> None:
        super().__init__(Answering(strategy="read"), reader=OverlapReader(0.2))
        self._wrong = wrong

    def answer(self, question: str, hits: Sequence[Hit], **options: Any) -> Iterator[Any]:
        for event in super().answer(question, hits, **options):
            if isinstance(event, Answer) and question in self._wrong:
                moved = [replace(each, start=each.start + 1) for each in event.citations]
                event = replace(event, citations=tuple(moved))
            yield event


class Tampering(Misquoting):
    """Changes the passages it was given, and cites what they say now."""

    def answer(self, question: str, hits: Sequence[Hit], **options: Any) -> Iterator[Any]:
        for hit in hits:
            object.__setattr__(hit.chunk, "text", hit.chunk.text.replace("31 metres", "99 metres"))
        yield from super().answer(question, hits, **options)


@pytest.mark.parametrize(
    ("answerer", "mode"),
    [(Misquoting("How tall?"), "gold"), (Misquoting("How tall?"), "rag"), (Tampering(), "gold")],
)
def test_a_citation_of_a_wrong_span_lowers_the_share(
    answerer: Answerer, mode: EvaluationMode
) -> None:
    report = evaluate(ROWS, mode=mode, answerer=answerer, open_knowledge=Opened())
    assert report["answers"]["en"]["citations_valid"] == 0.0
    assert report["answers"]["zh"]["citations_valid"] == 1.0


def test_rag_mode_reports_every_stage_and_counts_answerable_questions_only() -> None:
    opened = Opened()
    report = evaluate(ROWS, mode="rag", answerer=READER, open_knowledge=opened)
    assert set(report["retrieval"]) == {"lexical", "dense", "fused", "reranked"}
    assert report["retrieval"]["fused"] == {
        "hit@1": 1.0,
        "hit@5": 1.0,
        "hit@10": 1.0,
        "mrr@10": 1.0,
    }
    assert report["answers"]["zh"]["n"] == report["answers"]["en"]["n"] == 1
    assert report["answers"]["zh"]["refusal_recall"] is None
    assert report["answers"]["zh"]["citations_valid"] == 1.0
    assert opened.opened == opened.closed == 1


def test_each_source_can_be_a_pool_of_its_own() -> None:
    opened = Opened()
    evaluate(ROWS, mode="rag", answerer=READER, open_knowledge=opened, pool="source")
    assert opened.opened == opened.closed == 2


def test_a_limit_takes_the_first_rows() -> None:
    assert evaluate(ROWS, mode="gold", answerer=READER, limit=1)["n"] == 1


def test_progress_ends_where_it_said_it_would() -> None:
    seen: list[Progress] = []
    evaluate(ROWS, mode="rag", answerer=READER, open_knowledge=Opened(), progress=seen.append)
    last = {each.stage: each for each in seen}
    assert set(last) == {"index", "search", "answer"}
    assert all(each.done == each.total for each in last.values())


def test_what_cannot_be_evaluated_is_an_error() -> None:
    with pytest.raises(InputError, match="no question"):
        evaluate([], mode="gold", answerer=READER)
    with pytest.raises(InputError, match="gold"):
        evaluate(ROWS, mode="rag", answerer=READER)


def test_a_pool_of_only_unanswerable_questions_reports_zeros() -> None:
    rows = [replace(ROWS[1])]
    report = evaluate(rows, mode="rag", answerer=READER, open_knowledge=Opened())
    assert report["answers"] == {} and report["retrieval"]["fused"]["hit@1"] == 0.0


@pytest.mark.parametrize("mode", ["gold", "rag"])
def test_written_answers_are_asked_of_the_model(mode: EvaluationMode) -> None:
    asked: list[str] = []

    class Modes(Answerer):
        def answer(self, question: str, hits: Sequence[Hit], **options: Any) -> Iterator[Any]:
            asked.append(options["mode"])
            return super().answer(question, hits, **options)

    evaluate(ROWS, mode=mode, answerer=Modes(), open_knowledge=Opened())
    assert set(asked) == {"strict"}
    asked.clear()
    evaluate(ROWS, mode=mode, answerer=Modes(), answers="free", open_knowledge=Opened())
    assert set(asked) == {"free"}
