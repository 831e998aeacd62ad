"""Indexing into a library on another machine: files are read here, and sent as documents.

Its service could not read them; see `Knowledge.add`. A document is known by its name: a file with
the name of another is taken for a newer one of it. Knows no socket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from rwkv_rag.errors import InputError
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.knowledge.load import load, read_bytes
from rwkv_rag.knowledge.sources import Source, find_sources
from rwkv_rag.types import IndexEvent


class SendingKnowledge:
    """A `Knowledge` elsewhere, with an `index` that reads its files on this machine."""

    def __init__(self, there: Knowledge) -> None:
        self._there = there

    def __getattr__(self, name: str) -> Any:
        return getattr(self._there, name)

    def index(
        self, name: str, paths: Sequence[Path], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[IndexEvent]:
        """As `Knowledge.index`; what the base holds already is not sent. Raises NotFound."""
        held = {info.name: info.sha256 for info in self._there.documents(name)}
        return self._indexing(name, paths, held, cancelled)

    def _indexing(
        self,
        name: str,
        paths: Sequence[Path],
        held: dict[str, str],
        cancelled: Callable[[], bool],
    ) -> Iterator[IndexEvent]:
        sources = find_sources(paths)
        for done, source in enumerate(sources):
            if cancelled():
                return
            reading = IndexEvent("reading", source.name, done, len(sources))
            yield reading
            try:
                yield from self._source(name, source, held, reading)
            except InputError as error:
                yield replace(reading, stage="skipped", done=done + 1, reason=error.message)

    def _source(
        self, name: str, source: Source, held: dict[str, str], reading: IndexEvent
    ) -> Iterator[IndexEvent]:
        sha256 = hashlib.sha256(read_bytes(source.path)).hexdigest()
        if held.get(source.name) == sha256:
            yield replace(reading, stage="unchanged", done=reading.done + 1)
            return
        events = self._there.add(name, [load(source.path, name=source.name)])
        with closing(cast("Any", events)):
            for event in events:
                if event.stage != "reading":
                    yield replace(event, done=reading.done + event.done, total=reading.total)


def sending(there: Knowledge) -> Knowledge:
    """`there`, with files read on this machine."""
    return cast("Knowledge", SendingKnowledge(there))
