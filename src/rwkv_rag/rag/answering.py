"""From a question and its passages to a checked answer. Knows no search: the passages are given.

`Answering` says how to answer; the composition root decides it from what the models were measured
at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from rwkv_rag.errors import InputError
from rwkv_rag.interfaces import Generator, Reader
from rwkv_rag.rag.citations import Record, cite
from rwkv_rag.rag.language import detect
from rwkv_rag.rag.strategies import Draft, Free, Ground, Quoting, Reading, Strategy, Task
from rwkv_rag.types import Answer, Delta, Hit, Language, Sampling, Turn

Mode = Literal["strict", "free"]

REFUSAL: Mapping[Language, str] = {
    "zh": "资料中没有找到这个问题的答案。",
    "en": "The documents do not answer this question.",
}
CANNOT_WRITE: Mapping[Language, str] = {
    "zh": "现在的模型不会自己组织文字，以下改为摘录原文。",
    "en": "The model in use cannot write in its own words; this is quoted instead.",
}
WRITTEN_WITH: Mapping[Language, str] = {
    "zh": "由微调后的“{name}”生成。",
    "en": "Written by the tuned model {name}.",
}


@dataclass(frozen=True, slots=True)
class Answering:
    """How questions are answered; the defaults need no model.

    strategy        who answers in strict mode: whole sentences, the reader, or grounded decoding
    threshold       a best hit less relevant than this (0..1) is a refusal, and no model is asked
    coverage        a best sentence sharing less of the question than this (0..1) is a refusal;
                    None: what was measured to be enough in the language
    margin          a best reading below this is a refusal
    rank_weight     what a reading's margin loses for every place its passage stands below the first
    quotes          how many sentences are quoted, one or two
    writes          whether the generator is good enough for answers in its own words
    writer          what the generator was tuned to; its answers name it in their note
    top_k           how many passages are looked at
    budget_tokens   the longest prompt
    max_tokens      the longest generated answer
    """

    strategy: Literal["quote", "read", "ground"] = "quote"
    threshold: float = 0.0
    coverage: float | None = None
    margin: float = 0.0
    rank_weight: float = 0.0
    quotes: int = 1
    writes: bool = False
    writer: str = ""
    top_k: int = 5
    budget_tokens: int = 3000
    max_tokens: int = 256
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.3))

    def __post_init__(self) -> None:
        for name in ("threshold", "coverage"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise InputError(
                    "{name} is {value}; give a number from 0 to 1",
                    name=name,
                    value=getattr(self, name),
                )
        for name in ("quotes", "top_k", "budget_tokens", "max_tokens"):
            if getattr(self, name) < 1:
                raise InputError(
                    "{name} is {value}; give a whole number from 1",
                    name=name,
                    value=getattr(self, name),
                )


class Answerer:
    """Answers from passages: the strategy for the mode, then every citation checked."""

    def __init__(
        self,
        settings: Answering | None = None,
        *,
        reader: Reader | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.settings = settings or Answering()
        self._strict = _strict(self.settings, reader, generator)
        self._free = _free(self.settings, generator)

    def answer(
        self,
        question: str,
        hits: Sequence[Hit],
        *,
        record: Record,
        mode: Mode = "strict",
        history: Sequence[Turn] = (),
        query: str = "",
    ) -> Iterator[Delta | Answer]:
        """Stream the answer, the finished `Answer` last.

        `query` is the question as understood from the conversation. Timings are in seconds.
        """
        language = detect(question)
        task = Task(
            question, query or question, tuple(hits), tuple(history), language, REFUSAL[language]
        )
        strategy = self._free if mode == "free" and self._free else self._strict
        started = perf_counter()
        draft = Draft("", refused=True)
        for event in strategy.draft(task):
            if isinstance(event, Draft):
                draft = event
            else:
                yield event
        drafted = perf_counter()
        answer = _checked(draft, task, record)
        timings = {strategy.stage: drafted - started, "cite": perf_counter() - drafted}
        if not draft.streamed:
            yield Delta(answer.text, finish="refusal" if answer.refused else "stop")
        note = answer.note
        if mode == "free" and not self._free and not answer.refused:
            note = CANNOT_WRITE[language]
        if strategy.stage == "generate" and self.settings.writer and not answer.refused:
            note = _written_with(self.settings.writer, language, note)
        yield Answer(
            text=answer.text,
            refused=answer.refused,
            citations=answer.citations,
            hits=task.hits,
            timings=timings,
            query=task.query,
            note=note,
        )


def refusal(question: str, query: str, hits: Sequence[Hit] = ()) -> Answer:
    """The answer where no passage is relevant; `hits` shows what was found and set aside."""
    return Answer(REFUSAL[detect(question)], refused=True, hits=tuple(hits), query=query)


def _written_with(name: str, language: Language, note: str) -> str:
    gap = " " if language == "en" and note else ""
    return WRITTEN_WITH[language].format(name=name) + gap + note


def _checked(draft: Draft, task: Task, record: Record) -> Answer:
    """The draft as an answer; what must be quoted and cannot be proven becomes a refusal."""
    citations = () if draft.refused else cite(draft.evidence, record)
    unproven = draft.quoted and len(citations) == 0
    if draft.refused or unproven or not draft.text:
        return Answer(task.refusal, refused=True)
    note = draft.note if citations else draft.unproven
    return Answer(draft.text, refused=False, citations=citations, note=note)


def _strict(settings: Answering, reader: Reader | None, generator: Generator | None) -> Strategy:
    if settings.strategy == "read":
        if reader is None:
            raise InputError('strategy "read" needs a reader and there is none; use "quote"')
        return Reading(reader, settings.margin, settings.rank_weight)
    if settings.strategy == "ground":
        if generator is None:
            raise InputError('strategy "ground" needs a generator and there is none; use "quote"')
        return Ground(generator, settings.budget_tokens, settings.max_tokens)
    return Quoting(settings.quotes, settings.coverage)


def _free(settings: Answering, generator: Generator | None) -> Strategy | None:
    if generator is None or not settings.writes:
        return None
    return Free(generator, settings.sampling, settings.budget_tokens, settings.max_tokens)
