"""`rwkv-rag index`: read files and directories into a knowledge base. Knows no file format."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated, cast

import typer

from rwkv_rag.cli.options import (
    DEFAULT_KB,
    SERVICES,
    ChunkOverlap,
    ChunkSize,
    Kb,
    Session,
    with_session,
)
from rwkv_rag.cli.screen import Screen
from rwkv_rag.config import Settings
from rwkv_rag.errors import Busy, InputError, NotFound, RagError, system_reason
from rwkv_rag.i18n import N_, _
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.types import IndexEvent, KnowledgeBase

DELETE_WITHIN_S = 5.0
SKIPPED, REMARK = N_("skipped {document}: {reason}"), N_("{document}: {reason}")
FINAL = ("indexed", "unchanged", "replaced", "skipped")


@with_session(*SERVICES)
def index(
    here: Session,
    paths: Annotated[list[Path], typer.Argument(help="Files and directories to read.")],
    kb: Kb = DEFAULT_KB,
    chunk_size: ChunkSize = None,
    chunk_overlap: ChunkOverlap = None,
) -> None:
    """Read files and directories into a knowledge base."""
    for path in paths:
        _check(path)
    with here.client() as client:
        library = client.knowledge
        created = _ensure_base(library, here.settings, kb, chunk_size, chunk_overlap)
        try:
            with closing(cast("Generator[IndexEvent]", library.index(kb, paths))) as events:
                outcome = follow(here.screen, events)
            if sum(outcome.values()) - outcome["skipped"]:
                return _summary(here.screen, library.base(kb), outcome)
        finally:
            if created:
                _drop_if_empty(library, kb)
    if not outcome:
        raise InputError("found nothing to index; readable are .txt, .md and .pdf files")
    raise typer.Exit(2)


def follow(screen: Screen, events: Iterator[IndexEvent]) -> Counter[str]:
    """Run an indexing to its end with a progress bar; says which documents were skipped and why."""
    outcome: Counter[str] = Counter()
    with screen.progress("indexing") as bar:
        for event in events:
            share = event.chunks_done / event.chunks_total if event.chunks_total else 0.0
            bar.show(
                event.done + (share if event.stage == "embedding" else 0.0),
                event.total,
                event.document,
            )
            if event.stage in FINAL:
                outcome[event.stage] += 1
            if event.stage in FINAL and event.reason:
                text = SKIPPED if event.stage == "skipped" else REMARK
                screen.note(text, style="yellow", document=event.document, reason=_(event.reason))
    return outcome


def _check(path: Path) -> None:
    """Raises InputError where a path leads nowhere, before anything is made for it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound("{path} does not exist; check the path", path=path) from None
    except OSError as error:
        raise InputError(
            "{path} cannot be read: {reason}", path=path, reason=system_reason(error)
        ) from error


def _ensure_base(
    library: Knowledge,
    settings: Settings,
    name: str,
    chunk_size: int | None,
    chunk_overlap: int | None,
) -> bool:
    """Create the base where there is none (True); refuse other sizes than it was made with."""
    try:
        base = library.base(name)
    except NotFound:
        size = settings.chunk_size if chunk_size is None else chunk_size
        overlap = settings.chunk_overlap if chunk_overlap is None else chunk_overlap
        library.create(name, chunk_size=size, chunk_overlap=overlap)
        return True
    wanted = (
        base.chunk_size if chunk_size is None else chunk_size,
        base.chunk_overlap if chunk_overlap is None else chunk_overlap,
    )
    if wanted != (base.chunk_size, base.chunk_overlap):
        raise InputError(
            "the knowledge base {name!r} was made with chunk size {chunk_size} and "
            "overlap {chunk_overlap}; leave these options out or use another base",
            name=name,
            chunk_size=base.chunk_size,
            chunk_overlap=base.chunk_overlap,
        )
    return False


def _drop_if_empty(library: Knowledge, name: str) -> None:
    """Delete a base that was made for documents of which none could be read.

    A service that learns late that the indexing was broken off is busy with it until then. Errors
    are not shown: the user gets the one that came before.
    """
    until = time.monotonic() + DELETE_WITHIN_S
    with suppress(RagError):
        while not library.base(name).documents:
            try:
                return library.delete(name)
            except Busy:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


def _summary(screen: Screen, base: KnowledgeBase, outcome: Counter[str]) -> None:
    screen.say(
        "{name}: {indexed} indexed, {replaced} replaced, {unchanged} unchanged, {skipped} skipped; "
        "{documents} documents, {chunks} passages in all",
        name=base.name,
        documents=base.documents,
        chunks=base.chunks,
        indexed=outcome["indexed"],
        replaced=outcome["replaced"],
        unchanged=outcome["unchanged"],
        skipped=outcome["skipped"],
    )
