"""One evaluation: a temporary base, every question asked, the figures collected.

Knows Protocols only: the caller brings the answerer and opens the knowledge.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

from rwkv_rag.errors import InputError
from rwkv_rag.evaluation import answers as grading
from rwkv_rag.evaluation import retrieval
from rwkv_rag.evaluation.answers import Graded
from rwkv_rag.evaluation.dataset import Row, sources
from rwkv_rag.evaluation.metrics import mean
from rwkv_rag.evaluation.pool import BASE, fill, passage_hit
from rwkv_rag.interfaces import Knowledge, SearchStage
from rwkv_rag.rag.answering import Answerer, Mode
from rwkv_rag.rag.citations import Given, Stored
from rwkv_rag.rag.pipeline import Pipeline, answer_from

EvaluationMode = Literal["rag", "gold"]
Pooling = Literal["all", "source"]
OpenKnowledge = Callable[[], AbstractContextManager[Knowledge]]
"""Opens an empty, temporary Knowledge and throws it away on exit."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an evaluation is: passages indexed, or questions searched or answered."""

    stage: Literal["index", "search", "answer"]
    done: int
    total: int


Report = Callable[[Progress], None]


def evaluate(
    rows: Sequence[Row],
    *,
    mode: EvaluationMode,
    answerer: Answerer,
    answers: Mode = "strict",
    open_knowledge: OpenKnowledge | None = None,
    limit: int | None = None,
    pool: Pooling = "all",
    progress: Report = lambda _: None,
) -> dict[str, Any]:
    """The report as one JSON object.

    Mode "rag" searches a temporary base of all distinct passages (or one base for each source) and
    answers the answerable questions from it; "gold" hands each question its own passage, answers
    all questions and counts refusals. `limit` takes the first rows only, and so a smaller pool.
    `answers` are quoted or written.
    """
    rows = rows[:limit]
    if not rows:
        raise InputError("there is no question to evaluate")
    started = perf_counter()
    found: dict[SearchStage, list[int | None]] = defaultdict(list)
    if mode == "gold":
        graded = list(_gold(rows, answerer, answers, progress))
    elif open_knowledge is None:
        raise InputError('mode "rag" needs a knowledge base to search; use mode "gold"')
    else:
        graded = []
        for group in _pools(rows, pool):
            graded += _rag(group, answerer, answers, open_knowledge, found, progress)
    return _report(rows, mode, graded, found, perf_counter() - started)


def _gold(
    rows: Sequence[Row], answerer: Answerer, style: Mode, progress: Report
) -> Iterator[Graded]:
    for done, row in enumerate(rows, 1):
        events = answer_from(answerer, row.question, [passage_hit(row)], mode=style)
        # Made anew from the row: what was handed to the answerer proves nothing about itself.
        yield grading.grade(row, events, Given([passage_hit(row)]))
        progress(Progress("answer", done, len(rows)))


def _rag(
    rows: Sequence[Row],
    answerer: Answerer,
    style: Mode,
    open_knowledge: OpenKnowledge,
    found: dict[SearchStage, list[int | None]],
    progress: Report,
) -> list[Graded]:
    asked = [row for row in rows if row.answerable]
    graded: list[Graded] = []
    with open_knowledge() as knowledge:
        fill(knowledge, rows, lambda done, total: progress(Progress("index", done, total)))
        step = _counter("search", len(asked), progress)
        for stage, places in retrieval.ranks(asked, knowledge, step).items():
            found[stage] += places
        pipeline, record = Pipeline(knowledge, answerer), Stored(knowledge, BASE, whole=True)
        step = _counter("answer", len(asked), progress)
        for row in asked:
            events = pipeline.answer(row.question, kb=BASE, mode=style)
            graded.append(grading.grade(row, events, record))
            step()
    return graded


def _counter(
    stage: Literal["search", "answer"], total: int, progress: Report
) -> Callable[[], None]:
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(Progress(stage, done, total))

    return step


def _pools(rows: Sequence[Row], pool: Pooling) -> list[list[Row]]:
    if pool == "all":
        return [list(rows)]
    return [[row for row in rows if row.source == source] for source in sources(rows)]


def _report(
    rows: Sequence[Row],
    mode: EvaluationMode,
    graded: Sequence[Graded],
    found: Mapping[SearchStage, Sequence[int | None]],
    seconds: float,
) -> dict[str, Any]:
    by_language = {
        language: [each for each in graded if each.row.lang == language]
        for language in grading.LANGUAGES
    }
    spoken = {language: group for language, group in by_language.items() if group}
    return {
        "n": len(rows),
        "retrieval": {stage: retrieval.figures(places) for stage, places in found.items()},
        "answers": {
            language: grading.figures(group, refusals=mode == "gold")
            for language, group in spoken.items()
        },
        "baseline": {
            language: {"f1": round(mean(each.baseline for each in group if each.row.answerable), 4)}
            for language, group in spoken.items()
        },
        "seconds": round(seconds, 2),
    }
