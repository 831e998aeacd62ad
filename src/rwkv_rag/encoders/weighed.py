"""A reader of two minds: spans proposed by countable signs, weighed by the reading head as well.

A linear score knows where answers may begin and end and what a question asks for; the head has read
question and passage. Each is right where the other is wrong often enough for their sum to win, both
about which span it is and about whether the answer is there at all.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, Protocol

from rwkv_rag.encoders.manifest import Reading as Weights
from rwkv_rag.encoders.reader import Judgement, trimmed
from rwkv_rag.rag.language import detect
from rwkv_rag.rag.sentences import Span
from rwkv_rag.rag.spans import Proposals, margin, proposals
from rwkv_rag.types import Language, Reading, SourceSpan

OWN = 8  # spans that the head may add


class Head(Protocol):
    """What judges tokens; a reading head, or one that remembers what it judged."""

    def judge(self, question: str, passages: Sequence[str]) -> list[Judgement]:
        """A judgement of each passage's tokens."""


class WeighedReader:
    """Implements `interfaces.Reader`; where a language's weights are 0 the head is never loaded."""

    def __init__(self, head: Callable[[], Head], weights: Mapping[Language, Weights]) -> None:
        """`weights`: what the head counts beside the linear score; not at all by default."""
        self._load = head
        self._weights = weights

    @cached_property
    def _head(self) -> Head:
        return self._load()

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        """The best span of each passage; None where a passage has no text."""
        weights = self._weights.get(detect(question), Weights())
        proposed = [proposals(question, passage) for passage in passages]
        if weights.asks:
            judged = self._head.judge(question, passages)
            proposed = [
                weighed(*each, weights) for each in zip(proposed, judged, passages, strict=True)
            ]
        return [_best(n, each) for n, each in enumerate(proposed)]

    def margins(self, question: str, passages: Sequence[str]) -> list[float]:
        """Those that `read` gives, without looking for spans."""
        weights = self._weights.get(detect(question), Weights())
        linear = [margin(question, passage) for passage in passages]
        if not weights.head:
            return [weights.bias + weights.linear * each for each in linear]
        judged = self._head.judge(question, passages)
        return [_margin(*each, weights) for each in zip(linear, judged, strict=True)]


class Candidate(NamedTuple):
    """A span with the scores of both minds; `linear` is None where only the head thought of it."""

    linear: float | None
    head: float
    span: Span


def candidates(proposed: Proposals, judgement: Judgement, passage: str) -> list[Candidate]:
    """The linear spans, then those of the head's likeliest that are not among them."""
    borders = [0, *accumulate(len(c.encode("utf-8", errors="replace")) for c in passage)]
    linear: dict[Span, float | None] = {span: score for score, span in proposed.spans}
    own = dict.fromkeys(_characters(passage, borders, *each) for each in judgement.spans(OWN))
    together = {**own, **linear}
    heads = judgement.scores([(borders[start], borders[end]) for start, end in together])
    found = zip(together.items(), heads.tolist(), strict=True)
    return [Candidate(score, head, span) for (span, score), head in found]


def weighed(proposed: Proposals, judgement: Judgement, passage: str, weights: Weights) -> Proposals:
    """The spans of both, scored by both; a margin above 0 says that they believe in one."""
    if not proposed.spans:
        return proposed
    found = candidates(proposed, judgement, passage)
    return Proposals(summed(found, weights), _margin(proposed.margin, judgement, weights))


def _margin(linear: float, judgement: Judgement, weights: Weights) -> float:
    return weights.bias + weights.linear * linear + weights.head * judgement.margin


def summed(found: Sequence[Candidate], weights: Weights) -> list[tuple[float, Span]]:
    """Candidates as scored spans; those without a linear score begin `outside` below the best."""
    best = max((each.linear for each in found if each.linear is not None), default=0.0)
    unknown = best - (weights.outside or 0.0)
    return [
        ((unknown if linear is None else linear) + weights.span * head, span)
        for linear, head, span in found
        if linear is not None or weights.outside is not None
    ]


def _characters(passage: str, borders: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """The span of characters that the bytes `start:end` touch, without what stands at its edges."""
    return trimmed(passage, bisect_right(borders, start) - 1, bisect_left(borders, end))


def _best(number: int, proposed: Proposals) -> Reading | None:
    if not proposed.spans:
        return None
    _, span = max(proposed.spans)
    return Reading(SourceSpan(number, *span), proposed.margin)
