"""From a question to a cited answer: understand, retrieve, refuse or answer. Knows Protocols."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import perf_counter

from rwkv_rag.errors import InputError
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.question import checked_question
from rwkv_rag.rag.answering import Answerer, Mode, refusal
from rwkv_rag.rag.citations import Given, Stored
from rwkv_rag.rag.rewrite import TURNS, readings
from rwkv_rag.types import Answer, Delta, Hit, Turn


class Pipeline:
    """Answers questions from knowledge bases.

    for event in pipeline.answer("公司年假有几天？", kb="handbook"):
        if isinstance(event, Delta): show(event.text)
        else: finished = event
    """

    def __init__(
        self, knowledge: Knowledge, answerer: Answerer, *, check_documents: bool = False
    ) -> None:
        self._knowledge = knowledge
        self._answerer = answerer
        self._check_documents = check_documents

    def answer(
        self,
        question: str,
        *,
        kb: str,
        mode: Mode = "strict",
        history: Sequence[Turn] = (),
        top_k: int | None = None,
    ) -> Iterator[Delta | Answer]:
        """Stream deltas, then the finished Answer with its timings in seconds by stage.

        Raises InputError (at once, not on the first step) for a question that is empty or too long,
        and NotFound for an unknown knowledge base.
        """
        question = checked_question(question)
        if top_k is not None and top_k < 1:
            raise InputError("top_k is {top_k}; give a whole number from 1", top_k=top_k)
        return self._answer(question, kb, mode, history[-TURNS:], top_k)

    def answer_from(
        self,
        question: str,
        passages: Sequence[Hit],
        *,
        mode: Mode = "strict",
        history: Sequence[Turn] = (),
    ) -> Iterator[Delta | Answer]:
        """Answer from the passages given; citations are checked against them. Searches nothing."""
        return answer_from(self._answerer, question, passages, mode=mode, history=history)

    def _answer(
        self, question: str, kb: str, mode: Mode, history: Sequence[Turn], top_k: int | None
    ) -> Iterator[Delta | Answer]:
        started = perf_counter()
        query, hits, relevant = self._retrieve(question, kb, history, top_k)
        timings = {"search": perf_counter() - started}
        if not relevant:
            events = _refused(refusal(question, query, hits))
        else:
            record = Stored(self._knowledge, kb, whole=self._check_documents)
            events = self._answerer.answer(
                question, hits, record=record, mode=mode, history=history, query=query
            )
        yield from _timed(events, timings, started)

    def _retrieve(
        self, question: str, kb: str, history: Sequence[Turn], top_k: int | None
    ) -> tuple[str, list[Hit], bool]:
        """The query, its hits, whether any is relevant: of several readings the first to find."""
        settings = self._answerer.settings
        tried: list[tuple[str, list[Hit]]] = []
        for query in readings(question, history):
            hits = self._knowledge.search(kb, query, top_k=top_k or settings.top_k)
            if hits and max(hit.relevance for hit in hits) >= settings.threshold:
                return query, hits, True
            tried.append((query, hits))
        return *tried[0], False


def answer_from(
    answerer: Answerer,
    question: str,
    passages: Sequence[Hit],
    *,
    mode: Mode = "strict",
    history: Sequence[Turn] = (),
) -> Iterator[Delta | Answer]:
    """Answer from `passages` without a knowledge base. Raises InputError as `Pipeline.answer`."""
    question = checked_question(question)
    query = readings(question, history)[0]
    started = perf_counter()
    events = answerer.answer(
        question, passages, record=Given(passages), mode=mode, history=history[-TURNS:], query=query
    )
    return _timed(events, {}, started)


def _refused(answer: Answer) -> Iterator[Delta | Answer]:
    yield Delta(answer.text, finish="refusal")
    yield answer


def _timed(
    events: Iterator[Delta | Answer], timings: dict[str, float], started: float
) -> Iterator[Delta | Answer]:
    for event in events:
        if isinstance(event, Answer):
            total = {"total": perf_counter() - started}
            event = replace(event, timings={**timings, **event.timings, **total})
        yield event
