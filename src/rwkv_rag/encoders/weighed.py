"""A reader of two minds: spans proposed by countable signs, weighed by the reading head as well.

A linear score knows where answers may begin and end and what a question asks for; the head has read
question and passage. Each is right where the other is wrong often enough for their sum to win.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Protocol

from rwkv_rag.encoders.reader import Judgement
from rwkv_rag.rag.language import detect
from rwkv_rag.rag.spans import Proposals, proposals
from rwkv_rag.types import Language, Reading, SourceSpan


class Head(Protocol):
    """What judges tokens; a reading head, or one that remembers what it judged."""

    def judge(self, question: str, passages: Sequence[str]) -> list[Judgement]:
        """A judgement of each passage's tokens."""


class WeighedReader:
    """Implements `interfaces.Reader`; where the language's weight is 0 the head is never loaded."""

    def __init__(self, head: Callable[[], Head], weights: Mapping[Language, float]) -> None:
        """`weights`: what the head's log-probabilities count beside the linear score of a span."""
        self._load = head
        self._weights = weights

    @cached_property
    def _head(self) -> Head:
        return self._load()

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        """The best span of each passage.

        The head reads only the passage likeliest to answer: the margin, by which readings are
        compared, does not depend on it.
        """
        weight = self._weights.get(detect(question), 0.0)
        proposed = [proposals(question, passage) for passage in passages]
        number = max(range(len(passages)), key=lambda n: proposed[n].margin, default=0)
        if weight and proposed and proposed[number].spans:
            passage = passages[number]
            (judgement,) = self._head.judge(question, [passage])
            proposed[number] = _weighed(proposed[number], judgement, passage, weight)
        return [_best(n, each) for n, each in enumerate(proposed)]


def _weighed(proposed: Proposals, judgement: Judgement, passage: str, weight: float) -> Proposals:
    borders = [0, *accumulate(len(c.encode("utf-8", errors="replace")) for c in passage)]
    spans = [
        (score + weight * judgement.score(borders[start], borders[end]), (start, end))
        for score, (start, end) in proposed.spans
    ]
    return proposed._replace(spans=spans)


def _best(number: int, proposed: Proposals) -> Reading | None:
    if not proposed.spans:
        return None
    _, span = max(proposed.spans)
    return Reading(SourceSpan(number, *span), proposed.margin)
