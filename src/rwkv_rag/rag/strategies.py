"""Ways to get from passages to a draft answer with its evidence. Each knows one Protocol, or none.

Evidence is claimed here and checked elsewhere: nothing in a draft counts as a citation yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from rwkv_rag import types
from rwkv_rag.interfaces import Generator, Reader
from rwkv_rag.rag import prompt
from rwkv_rag.rag.citations import Evidence
from rwkv_rag.rag.marks import MarkFilter
from rwkv_rag.rag.places import ENOUGH
from rwkv_rag.rag.quote import quotes, support
from rwkv_rag.rag.sentences import sentences
from rwkv_rag.types import Delta, Hit, Language, Sampling, SourceSpan, Turn

Stage = Literal["quote", "read", "generate"]

QUOTED: Mapping[Language, str] = {
    "zh": "答案是原文摘录，没有经过模型改写。",
    "en": "Quoted word for word from the documents; no model has rephrased it.",
}
UNPROVEN: Mapping[Language, str] = {
    "zh": "这个回答由模型撰写，没有原文可以佐证，请自行核对。",
    "en": "Written by the model and not backed by any quotation; check it yourself.",
}


@dataclass(frozen=True, slots=True)
class Task:
    """One question with everything a strategy may use.

    `question` is as typed, `query` as understood from the conversation.
    """

    question: str
    query: str
    hits: tuple[Hit, ...]
    history: tuple[Turn, ...]
    language: Language
    refusal: str

    @property
    def texts(self) -> list[str]:
        """The passages' texts by rank."""
        return [hit.chunk.text for hit in self.hits]


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer before its evidence is checked.

    `quoted` answers stand or fall with their evidence; `streamed` ones have been shown already.
    `unproven` takes the place of `note` where none of the evidence holds.
    """

    text: str
    evidence: tuple[Evidence, ...] = ()
    refused: bool = False
    quoted: bool = True
    streamed: bool = False
    note: str = ""
    unproven: str = ""


class Strategy(Protocol):
    """A way to answer; `stage` names it in the timings."""

    @property
    def stage(self) -> Stage:
        """What the time is spent on."""

    def draft(self, task: Task) -> Iterator[Delta | Draft]:
        """Deltas where text is shown while it is made, then exactly one Draft."""


@dataclass(frozen=True, slots=True)
class Quoting:
    """The best sentences as they stand, in reading order within a passage."""

    limit: int
    coverage: float | None
    stage: Stage = field(default="quote", init=False)

    def draft(self, task: Task) -> Iterator[Delta | Draft]:
        headings = [hit.chunk.heading for hit in task.hits]
        found = quotes(task.question, task.texts, self.limit, query=task.query, headings=headings)
        enough = ENOUGH[task.language] if self.coverage is None else self.coverage
        if not found or found[0].coverage < enough:
            yield Draft("", refused=True)
            return
        top = found[0].passage
        found.sort(key=lambda each: (each.passage != top, each.passage, each.start))
        evidence = tuple(Evidence(task.hits[q.passage], q.start, q.end) for q in found)
        gap = "" if task.language == "zh" else " "
        yield Draft(
            gap.join(_slice(piece) for piece in evidence), evidence, note=QUOTED[task.language]
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """The span a reader finds; it is cited by the sentence around it."""

    reader: Reader
    margin: float
    rank_weight: float
    stage: Stage = field(default="read", init=False)

    def draft(self, task: Task) -> Iterator[Delta | Draft]:
        best = self._best(task)
        if best is None or best.margin < self.margin:
            yield Draft("", refused=True)
        else:
            yield _from_span(task, best.span)

    def _best(self, task: Task) -> types.Reading | None:
        readings = self.reader.read(task.query, task.texts)
        found = [(rank, reading) for rank, reading in enumerate(readings) if reading is not None]
        ranked = max(
            found, key=lambda each: each[1].margin - self.rank_weight * each[0], default=None
        )
        return ranked[1] if ranked else None


@dataclass(frozen=True, slots=True)
class Ground:
    """A span the generator can only copy: decoding is grounded in the passages."""

    generator: Generator
    budget_tokens: int
    max_tokens: int
    stage: Stage = field(default="generate", init=False)

    def draft(self, task: Task) -> Iterator[Delta | Draft]:
        asked = prompt.strict(
            task.query,
            task.texts,
            language=task.language,
            refusal=task.refusal,
            budget=self.budget_tokens,
            count=self.generator.count_tokens,
        )
        span: SourceSpan | None = None
        for delta in self.generator.generate(
            asked.text,
            sampling=types.GREEDY,
            max_tokens=self.max_tokens,
            stop=prompt.STOP,
            sources=task.texts[: asked.passages],
            refusal=task.refusal,
        ):
            span = delta.span or span
            yield delta
        yield (
            _from_span(task, span, streamed=True)
            if span
            else Draft("", refused=True, streamed=True)
        )


@dataclass(frozen=True, slots=True)
class Free:
    """An answer in the model's own words; a reference mark needs a supporting sentence to stay."""

    generator: Generator
    sampling: Sampling
    budget_tokens: int
    max_tokens: int
    stage: Stage = field(default="generate", init=False)

    def draft(self, task: Task) -> Iterator[Delta | Draft]:
        asked = prompt.free(
            task.question,
            task.texts,
            language=task.language,
            history=task.history,
            budget=self.budget_tokens,
            count=self.generator.count_tokens,
        )
        evidence = _MarkedEvidence(task.hits[: asked.passages])
        marks = MarkFilter(evidence.supports)
        for delta in self.generator.generate(
            asked.text, sampling=self.sampling, max_tokens=self.max_tokens, stop=prompt.STOP
        ):
            shown = marks.feed(delta.text) + (marks.finish() if delta.finish else "")
            if shown or delta.finish:
                yield Delta(shown, finish=delta.finish)
        yield Draft(
            marks.text.strip(),
            tuple(evidence.found),
            quoted=False,
            streamed=True,
            unproven=UNPROVEN[task.language],
        )


@dataclass(slots=True)
class _MarkedEvidence:
    """Collects, mark by mark, the sentence of the marked passage that bears out the statement."""

    hits: tuple[Hit, ...]
    found: list[Evidence] = field(default_factory=list)

    def supports(self, statement: str, number: int) -> bool:
        if not 1 <= number <= len(self.hits):
            return False
        hit = self.hits[number - 1]
        best = support(statement, hit.chunk.text)
        if best is None:
            return False
        self.found.append(Evidence(hit, best.start, best.end))
        return True


def _from_span(task: Task, span: SourceSpan, *, streamed: bool = False) -> Draft:
    """The answer is the span itself, its evidence the whole sentence (or sentences) around it."""
    if not 0 <= span.source < len(task.hits):
        return Draft("", refused=True, streamed=streamed)
    hit = task.hits[span.source]
    around = [(a, b) for a, b in sentences(hit.chunk.text) if a < span.end and span.start < b]
    start = min([span.start, *(a for a, _ in around)])
    end = max([span.end, *(b for _, b in around)])
    text = hit.chunk.text[span.start : span.end].strip()
    note = QUOTED[task.language]
    return Draft(text, (Evidence(hit, start, end),), streamed=streamed, note=note)


def _slice(piece: Evidence) -> str:
    return piece.hit.chunk.text[piece.start : piece.end]
