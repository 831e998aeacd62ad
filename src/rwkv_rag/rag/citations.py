"""Builds citations and checks each against what is stored. Knows no model; trusts no offset.

A citation that does not check is dropped: the chunk must exist, hold exactly the quoted characters
at
the place given, and (where the document is asked too) so must the document.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rwkv_rag.errors import NotFound
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.types import Chunk, Citation, Hit


@dataclass(frozen=True, slots=True)
class Evidence:
    """Characters `start:end` of a hit's chunk that an answer rests on, not yet checked."""

    hit: Hit
    start: int
    end: int


class Record(Protocol):
    """What citations are checked against."""

    def chunk(self, chunk_id: str) -> Chunk | None:
        """The chunk as stored, None when there is none of this id."""

    def text(self, document: str) -> str | None:
        """The document's text, None when it is not to be asked."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A knowledge base as the record; with `whole`, quotes are looked up in their documents too."""

    knowledge: Knowledge
    kb: str
    whole: bool = False

    def chunk(self, chunk_id: str) -> Chunk | None:
        try:
            return self.knowledge.chunk(self.kb, chunk_id)
        except NotFound:
            return None

    def text(self, document: str) -> str | None:
        if not self.whole:
            return None
        try:
            return self.knowledge.document(self.kb, document).text
        except NotFound:
            return ""


@dataclass(frozen=True, slots=True)
class Given:
    """Passages handed over by the caller as the record."""

    hits: Sequence[Hit]

    def chunk(self, chunk_id: str) -> Chunk | None:
        return next((hit.chunk for hit in self.hits if hit.chunk.id == chunk_id), None)

    def text(self, document: str) -> str | None:
        return None


def cite(evidence: Iterable[Evidence], record: Record) -> tuple[Citation, ...]:
    """The citations that hold, in the order of `evidence` and each place once."""
    found: dict[tuple[str, int, int], Citation] = {}
    for piece in evidence:
        citation = _citation(piece, record)
        if citation:
            found.setdefault((citation.document, citation.start, citation.end), citation)
    return tuple(found.values())


def holds(citation: Citation, record: Record) -> bool:
    """Whether a citation still agrees with the record, for instance one kept with an old answer."""
    chunk = record.chunk(citation.chunk)
    if chunk is None or chunk.document != citation.document or not citation.quote:
        return False
    start, end = citation.start - chunk.start, citation.end - chunk.start
    if not 0 <= start < end <= len(chunk.text) or chunk.text[start:end] != citation.quote:
        return False
    text = record.text(citation.document)
    return text is None or text[citation.start : citation.end] == citation.quote


def _citation(piece: Evidence, record: Record) -> Citation | None:
    shown = piece.hit.chunk
    start = shown.start + piece.start
    citation = Citation(
        document=shown.document,
        page=_page(piece.hit, start),
        start=start,
        end=shown.start + piece.end,
        quote=shown.text[piece.start : piece.end],
        chunk=shown.id,
    )
    return citation if holds(citation, record) else None


def _page(hit: Hit, position: int) -> int | None:
    """The page on which the quote starts: a chunk may begin on the page before."""
    numbers = (page.number for page in hit.pages if page.start <= position < page.end)
    return next(numbers, hit.chunk.page)
