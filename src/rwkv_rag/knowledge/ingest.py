"""Documents into a base: read, split, embed, store; one document a transaction. Knows no index.

Killed at any point it loses nothing and duplicates nothing: embeddings are stored batch by batch
under the hash of their text, where no search sees them until the document that uses them appears
with all its chunks at once. Indexing the same files again goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from rwkv_rag.errors import InputError, ModelMismatch, RagError
from rwkv_rag.interfaces import Embedder
from rwkv_rag.knowledge.catalog import Base, Catalog, content_hash
from rwkv_rag.knowledge.load import load, printable, read_bytes
from rwkv_rag.knowledge.sources import Source
from rwkv_rag.knowledge.split import embedded_text, split
from rwkv_rag.types import Chunk, Document, IndexEvent

BATCH = 32  # texts the embedder is given at once
NAMED_PAGES = 5

Cancelled = Callable[[], bool]


class Ingest:
    """Adds documents to one base."""

    def __init__(self, catalog: Catalog, base: Base, embedder: Embedder, cancelled: Cancelled):
        self._catalog = catalog
        self._base = base
        self._embedder = embedder
        self._cancelled = cancelled

    def files(self, sources: Sequence[Source]) -> Iterator[IndexEvent]:
        """Index files; what cannot be read is skipped with its reason."""
        for done, source in enumerate(sources):
            if self._cancelled():
                return
            progress = IndexEvent("reading", source.name, done, len(sources))
            yield progress
            try:
                if self._stored(source):
                    yield replace(progress, stage="unchanged", done=done + 1)
                    continue
                document = load(source.path, name=source.name)
            except InputError as error:
                yield replace(progress, stage="skipped", done=done + 1, reason=str(error))
                continue
            yield from self._document(document, progress)

    def documents(self, documents: Sequence[Document]) -> Iterator[IndexEvent]:
        """Index documents that are in memory already."""
        for done, document in enumerate(documents):
            if self._cancelled():
                return
            name = printable(document.name)
            progress = IndexEvent("reading", name, done, len(documents))
            if fault := _fault(document):
                yield replace(progress, stage="skipped", done=done + 1, reason=fault)
            elif self._catalog.fingerprint(self._base, document.name) == document.sha256:
                yield replace(progress, stage="unchanged", done=done + 1)
            else:
                yield from self._document(document, progress)

    def embed(self, chunks: Sequence[Chunk]) -> Iterator[int]:
        """Embed and store what has no embedding yet; yields how many chunks are done."""
        texts = {content_hash(text): text for text in map(embedded_text, chunks)}
        missing = self._catalog.missing(self._base.model, list(texts))
        waiting = [key for key in texts if key in missing]
        for start in range(0, len(waiting), BATCH):
            keys = waiting[start : start + BATCH]
            vectors = self._embedder.embed_documents([texts[key] for key in keys])
            check_vectors(vectors, len(keys), self._base)
            self._catalog.put_embeddings(self._base.model, dict(zip(keys, vectors, strict=True)))
            yield len(chunks) - max(0, len(waiting) - start - BATCH)

    def _stored(self, source: Source) -> bool:
        known = self._catalog.fingerprint(self._base, source.name)
        return bool(known) and known == hashlib.sha256(read_bytes(source.path)).hexdigest()

    def _document(self, document: Document, progress: IndexEvent) -> Iterator[IndexEvent]:
        chunks = split(document, size=self._base.chunk_size, overlap=self._base.chunk_overlap)
        known = self._catalog.fingerprint(self._base, document.name)
        progress = replace(progress, stage="embedding", chunks_total=len(chunks))
        yield progress
        for chunks_done in self.embed(chunks):
            yield replace(progress, chunks_done=chunks_done)
            if self._cancelled():
                return
        self._catalog.put_document(self._base, document, chunks)
        yield replace(
            progress,
            stage="replaced" if known else "indexed",
            done=progress.done + 1,
            chunks_done=len(chunks),
            reason=_note(document),
        )


def check_vectors(vectors: np.ndarray, count: int, base: Base) -> None:
    """Raises ModelMismatch or RagError for vectors that cannot be stored."""
    if vectors.shape != (count, base.dimension):
        raise ModelMismatch(
            f"the embedding model {base.model} returned vectors of shape {vectors.shape};"
            f" the knowledge base {base.name} needs ({count}, {base.dimension})"
        )
    if not np.isfinite(vectors).all():
        raise RagError(f"the embedding model {base.model} returned numbers that are not finite")


def _fault(document: Document) -> str:
    if printable(document.name) != document.name:
        return f"{printable(document.name)} is no name for a document: it is not valid Unicode"
    if not document.text.strip():
        return f"{document.name} contains only white space"
    try:
        document.text.encode()
    except UnicodeEncodeError:
        return f"{document.name} is not valid Unicode (lone surrogates)"
    return ""


def _note(document: Document) -> str:
    """What the user has to know of a document that was read only in part."""
    silent = [str(page.number) for page in document.pages if page.start == page.end]
    if not silent:
        return ""
    named = ", ".join(silent[:NAMED_PAGES]) + (", …" if len(silent) > NAMED_PAGES else "")
    return (
        f"{len(silent)} of {len(document.pages)} pages have no text (page {named}):"
        " scanned; OCR comes with a later version"
    )
