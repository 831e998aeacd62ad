"""A conversation: asks the pipeline with the turns so far, remembers six. Stores nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from rwkv_rag.rag.answering import Mode
from rwkv_rag.rag.pipeline import Pipeline
from rwkv_rag.rag.rewrite import TURNS
from rwkv_rag.types import Answer, Delta, Turn


class Session:
    """One conversation with one knowledge base.

    session = Session(pipeline, kb="handbook")
    for event in session.ask("公司年假有几天？"): ...
    for event in session.ask("那病假呢？"): ...
    """

    def __init__(self, pipeline: Pipeline, *, kb: str, mode: Mode = "strict") -> None:
        self._pipeline = pipeline
        self._kb = kb
        self._mode: Mode = mode
        self._turns: deque[Turn] = deque(maxlen=TURNS)

    @property
    def history(self) -> tuple[Turn, ...]:
        """The turns remembered, oldest first."""
        return tuple(self._turns)

    def ask(self, question: str) -> Iterator[Delta | Answer]:
        """Stream the answer; the turn is remembered once the finished Answer has been delivered."""
        for event in self._pipeline.answer(
            question, kb=self._kb, mode=self._mode, history=self.history
        ):
            if isinstance(event, Answer):
                self._turns.append(Turn(question, "" if event.refused else event.text))
            yield event

    def clear(self) -> None:
        """Forget the conversation."""
        self._turns.clear()
