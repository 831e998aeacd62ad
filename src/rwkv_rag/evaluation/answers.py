"""How good answers are: exact match, F1, refusals, citations that hold. Knows no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rwkv_rag.evaluation.dataset import Row
from rwkv_rag.evaluation.metrics import exact_match, f1, mean
from rwkv_rag.rag.citations import Record, holds
from rwkv_rag.rag.quote import quotes
from rwkv_rag.types import Answer, Delta, Language

LANGUAGES: tuple[Language, ...] = ("zh", "en")


@dataclass(frozen=True, slots=True)
class Graded:
    """One answer beside its question. `cited` and `valid` count citations; `baseline` is an F1."""

    row: Row
    em: float
    f1: float
    refused: bool
    cited: int
    valid: int
    baseline: float


def grade(row: Row, events: Iterable[Delta | Answer], record: Record) -> Graded:
    """Grade the finished answer of `events`, checking its citations once more against `record`."""
    answer = next(event for event in events if isinstance(event, Answer))
    text = "" if answer.refused else answer.text
    top = answer.hits[0].chunk.text if answer.hits else ""
    return Graded(
        row=row,
        em=exact_match(text, row.answers, row.lang),
        f1=f1(text, row.answers, row.lang),
        refused=answer.refused,
        cited=len(answer.citations),
        valid=sum(holds(citation, record) for citation in answer.citations),
        baseline=f1(best_sentence(row.question, top), row.answers, row.lang),
    )


def best_sentence(question: str, passage: str) -> str:
    """The trivial baseline: the sentence of `passage` that shares most with the question."""
    best = next(iter(quotes(question, [passage])), None)
    return passage[best.start : best.end] if best else ""


def figures(graded: Sequence[Graded], *, refusals: bool) -> dict[str, float | int | None]:
    """The figures of one language. EM and F1 count answerable questions, a refusal as 0.

    `refusals` False leaves both refusal figures None: a question without an answer in its own
    passage may have one elsewhere in the pool. `citations_valid` is None where nothing was cited.
    """
    answerable = [each for each in graded if each.row.answerable]
    others = [each for each in graded if not each.row.answerable]
    cited = sum(each.cited for each in graded)
    return {
        "n": len(graded),
        "em": round(mean(each.em for each in answerable), 4),
        "f1": round(mean(each.f1 for each in answerable), 4),
        "refusal_recall": _share(others) if refusals else None,
        "false_refusals": _share(answerable) if refusals else None,
        "citations_valid": round(sum(each.valid for each in graded) / cited, 4) if cited else None,
    }


def _share(graded: Sequence[Graded]) -> float | None:
    """The share of refusals."""
    return round(mean(float(each.refused) for each in graded), 4) if graded else None
