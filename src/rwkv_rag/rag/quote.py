"""The answer without any model: the sentences of the passages that share most with the question.

Knows nothing of language beyond terms and their rarity. It is the default answer wherever no reader
has been measured to do better, and the baseline that any reader must beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rwkv_rag.rag.asked import asked_for, looks_asked
from rwkv_rag.rag.places import Place, places, share, weights

_RANK_DISCOUNT = 0.15
"""What a sentence loses for every place its passage stands below the first."""
_LOOKS_RIGHT = 0.4
"""What a sentence gains that holds the kind of thing asked for, such as a number."""
SUPPORTS = 1 / 3
"""The share of a statement, weighted by rarity, that a sentence must hold to bear it out."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Characters `start:end` of passage number `passage` (from 0): one sentence.

    `coverage` in 0..1 is the share of the question, weighted by rarity, that the sentence holds.
    """

    passage: int
    start: int
    end: int
    coverage: float


def quotes(
    question: str,
    passages: Sequence[str],
    limit: int = 1,
    *,
    query: str = "",
    headings: Sequence[str] = (),
) -> list[Quote]:
    """The best `limit` sentences of all passages, best first; none that shares nothing.

    `query` is the question with what it means from the conversation; `headings` names what each
    passage stands under.
    """
    found = places(passages, headings)
    wanted = weights(found, question, query)
    kind = asked_for(query or question)

    def rank(pair: tuple[Place, float]) -> float:
        place, coverage = pair
        right = looks_asked(kind, passages[place.passage][slice(*place.span)])
        return coverage * (1 + _LOOKS_RIGHT * right) / (1 + _RANK_DISCOUNT * place.passage)

    shared = [(place, share(place, wanted)) for place in found]
    best = sorted(shared, key=rank, reverse=True)[:limit]
    return [Quote(p.passage, *p.span, coverage=part) for p, part in best if part > 0]


def support(statement: str, passage: str) -> Quote | None:
    """The sentence of `passage` that bears out `statement` best; None if none holds a third of it.

    Less would let any sentence with a few of the same characters stand as proof of whatever a model
    writes.
    """
    best = next(iter(quotes(statement, [passage])), None)
    return best if best is not None and best.coverage >= SUPPORTS else None
