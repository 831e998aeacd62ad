"""Documents into a base: read, split, embed, store; one document a transaction. Knows no index.

Killed at any point it loses nothing and duplicates nothing: embeddings are stored batch by batch
under the hash of their text, where no search sees them until the document that uses them appears
with all its chunks at once. Indexing the same files again goes on where it was stopped.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rwkv_rag.errors import InputError, Message, ModelMismatch, RagError, message
from rwkv_rag.interfaces import Embedder
from rwkv_rag.knowledge.catalog import Base, Catalog, Stored, content_hash
from rwkv_rag.knowledge.load import load, printable, read_bytes
from rwkv_rag.knowledge.sources import Source, candidates, lasting_path
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
            path = lasting_path(source)
            name = self._name(source, path)
            progress = IndexEvent("reading", name, done, len(sources))
            yield progress
            try:
                sha256 = hashlib.sha256(read_bytes(source.path)).hexdigest()
                if event := self._known(name, sha256, path, progress):
                    yield event
                    continue
                document = load(source.path, name=name)
            except InputError as error:
                yield replace(progress, stage="skipped", done=done + 1, reason=error.message)
                continue
            yield from self._document(document, path, progress)

    def documents(self, documents: Sequence[Document]) -> Iterator[IndexEvent]:
        """Index documents that are in memory already; one of the same name is replaced."""
        for done, document in enumerate(documents):
            if self._cancelled():
                return
            name = printable(document.name)
            progress = IndexEvent("reading", name, done, len(documents))
            if fault := _fault(document):
                yield replace(progress, stage="skipped", done=done + 1, reason=fault)
            elif event := self._known(name, document.sha256, None, progress):
                yield event
            else:
                yield from self._document(document, None, progress)

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

    def _name(self, source: Source, path: Path | None) -> str:
        """The name the file has in the base, or the first one no other file's document has."""
        if path and (known := self._catalog.read_from(self._base, path)):
            return known.name
        return next(name for name in candidates(source) if self._may_take(name, path))

    def _may_take(self, name: str, path: Path | None) -> bool:
        """Only two documents that both have a path are told apart by it."""
        stored = self._catalog.named(self._base, name)
        return not (stored and stored.source and path)

    def _known(
        self, name: str, sha256: str, path: Path | None, progress: IndexEvent
    ) -> IndexEvent | None:
        """What happens to content the base holds already; None if it is to be stored.

        A base never holds the same content twice: a copy of what is still there is left out.
        """
        holder = self._catalog.holding(self._base, sha256)
        if holder is None:
            return None
        progress = replace(progress, done=progress.done + 1)
        if holder.name == name:
            if path and not holder.source:
                self._catalog.set_source(self._base, name, path)
            return replace(progress, stage="unchanged")
        named = self._catalog.named(self._base, name)
        if not _still_there(holder):
            if named or os.path.exists(holder.source or ""):
                return None  # this name takes over what that file held before
            if path:  # the file was moved; its document keeps its name
                self._catalog.set_source(self._base, holder.name, path)
        reason = message(
            "the same content is already in the base as {document}", document=holder.name
        )
        if not named:
            return replace(progress, stage="unchanged", reason=reason)
        self._catalog.remove_document(self._base, name)
        return replace(progress, stage="replaced", reason=reason)

    def _document(
        self, document: Document, path: Path | None, progress: IndexEvent
    ) -> Iterator[IndexEvent]:
        chunks = split(document, size=self._base.chunk_size, overlap=self._base.chunk_overlap)
        progress = replace(progress, stage="embedding", chunks_total=len(chunks))
        yield progress
        for chunks_done in self.embed(chunks):
            yield replace(progress, chunks_done=chunks_done)
            if self._cancelled():
                return
        known = self._catalog.named(self._base, document.name)
        moved = self._catalog.holding(self._base, document.sha256)
        self._catalog.put_document(
            self._base, document, chunks, source=path, instead_of=moved.name if moved else ""
        )
        yield replace(
            progress,
            stage="replaced" if known or moved else "indexed",
            done=progress.done + 1,
            chunks_done=len(chunks),
            reason=_note(document),
        )


def _still_there(holder: Stored) -> bool:
    """Whether the file a document was read from still holds it; what has no file stays."""
    if holder.source is None:
        return True
    try:
        return hashlib.sha256(read_bytes(holder.source)).hexdigest() == holder.sha256
    except InputError:
        return False


def check_vectors(vectors: np.ndarray, count: int, base: Base) -> None:
    """Raises ModelMismatch or RagError for vectors that cannot be stored."""
    if vectors.shape != (count, base.dimension):
        raise ModelMismatch(
            "the embedding model {model} returned vectors of shape {shape}; the "
            "knowledge base {base} needs ({count}, {dimension})",
            model=base.model,
            shape=vectors.shape,
            base=base.name,
            count=count,
            dimension=base.dimension,
        )
    if not np.isfinite(vectors).all():
        raise RagError(
            "the embedding model {model} returned numbers that are not finite", model=base.model
        )


def _fault(document: Document) -> Message | None:
    """Why a document cannot be stored."""
    name = printable(document.name)
    if name != document.name:
        return message("{name} is no name for a document: it is not valid Unicode", name=name)
    if not document.text.strip():
        return message("{name} contains only white space", name=name)
    try:
        document.text.encode()
    except UnicodeEncodeError:
        return message("{name} is not valid Unicode (lone surrogates)", name=name)
    return None


def _note(document: Document) -> Message | None:
    """What the user has to know of a document that was read only in part."""
    silent = [str(page.number) for page in document.pages if page.start == page.end]
    if not silent:
        return None
    named = ", ".join(silent[:NAMED_PAGES]) + (", …" if len(silent) > NAMED_PAGES else "")
    return message(
        "{silent} of {pages} pages have no text (page {numbers}): scanned; OCR comes with a later "
        "version",
        silent=len(silent),
        pages=len(document.pages),
        numbers=named,
    )
