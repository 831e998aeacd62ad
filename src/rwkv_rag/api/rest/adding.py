"""Indexing on its way to the client: progress step by step, or what became of every document.

{"type": "progress", "stage": "embedding", "document": …, "done": 0, "total": 3, …}
{"type": "done", "indexed": 3, …, "documents": [{"document": …, "stage": …, "reason": …}]}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from rwkv_rag.api.flow import Step, close
from rwkv_rag.i18n import _
from rwkv_rag.types import IndexEvent

ENDS = ("indexed", "replaced", "unchanged", "skipped")


class Adding(Iterator[Step]):
    """The steps of one indexing; `afterwards` is called when it is over, however it ends."""

    def __init__(
        self,
        events: Iterator[IndexEvent],
        *,
        streamed: bool,
        afterwards: Callable[[], None] = lambda: None,
    ) -> None:
        self._events = events
        self._steps = _steps(events, streamed=streamed)
        self._afterwards = afterwards

    def __next__(self) -> Step:
        return next(self._steps)

    def close(self) -> None:
        """Stop; what was indexed so far stays."""
        try:
            close(self._events)
        finally:
            self._afterwards()


def _steps(events: Iterator[IndexEvent], *, streamed: bool) -> Iterator[Step]:
    outcome: Counter[str] = Counter()
    documents: list[dict[str, str]] = []
    for event in events:
        reason = _(event.reason)
        if event.stage in ENDS:
            outcome[event.stage] += 1
            found = {"document": event.document, "stage": event.stage, "reason": reason}
            documents.append(found)
        yield {"type": "progress", **_record(event, reason)} if streamed else None
    counts = {stage: outcome[stage] for stage in ENDS}
    last: dict[str, Any] = {**counts, "documents": documents}
    yield {"type": "done", **last} if streamed else last


def _record(event: IndexEvent, reason: str) -> dict[str, Any]:
    return {
        "stage": event.stage,
        "document": event.document,
        "done": event.done,
        "total": event.total,
        "chunks_done": event.chunks_done,
        "chunks_total": event.chunks_total,
        "reason": reason,
    }
