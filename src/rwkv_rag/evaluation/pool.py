"""The distinct passages of a question file as documents, to be found again. Knows no store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from rwkv_rag.evaluation.dataset import Row
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.types import Chunk, Document, Hit

BASE = "evaluation"
"""The name of the temporary knowledge base."""


def document(row: Row) -> Document:
    """The row's passage as a document; equal passages give equal documents."""
    data = row.passage.encode()
    digest = hashlib.sha256(data).hexdigest()
    return Document(name=f"passage-{digest[:16]}.txt", text=row.passage, sha256=digest)


def passage_hit(row: Row) -> Hit:
    """The whole passage as the one hit of a search that could not have gone better."""
    found = document(row)
    chunk = Chunk(f"{found.sha256[:16]}-0", found.name, 0, 0, len(row.passage), row.passage)
    return Hit(chunk, score=1.0, relevance=1.0)


def fill(knowledge: Knowledge, rows: Iterable[Row], done: Callable[[int, int], None]) -> int:
    """Index every distinct passage into a new base `BASE`; returns how many there are."""
    documents = list({found.name: found for found in map(document, rows)}.values())
    knowledge.create(BASE)
    for event in knowledge.add(BASE, documents):
        if event.stage in ("indexed", "unchanged", "replaced"):
            done(event.done, event.total)
    return len(documents)


def rank(hits: Sequence[Hit], name: str) -> int | None:
    """The place, from 1, of a document among the distinct ones of a ranking; None if absent."""
    ranked = list(dict.fromkeys(hit.chunk.document for hit in hits))
    return ranked.index(name) + 1 if name in ranked else None
