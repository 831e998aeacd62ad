"""Which vector index serves which base, and keeping it equal to the catalog. Knows no text.

Exact search reads a base's vectors from SQLite once and then compares with all of them; Chroma
takes longer to import and open, answers large bases faster, and not exactly. So bases below
`EXACT_BELOW` chunks are searched exactly and Chroma is not even imported; larger ones use it.

One process at a time holds the Chroma directory (a lock file). Another process that wants to search
meanwhile searches exactly, which is slower and just as right; what it writes, the holder picks up
before its next search, because `generation` tells that the base has changed.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rwkv_rag.errors import CorruptData, InputError, Message, message
from rwkv_rag.i18n import N_
from rwkv_rag.knowledge.catalog import Base, Catalog
from rwkv_rag.knowledge.locks import FileLock
from rwkv_rag.knowledge.vectors import Scored, VectorStore
from rwkv_rag.knowledge.vectors.exact import ExactStore

EXACT_BELOW = 50_000  # chunks; 77 MB of memory at 384 dimensions
PREFIX = "kb-"


class DenseIndex:
    """Nearest chunks of a base. Opens Chroma only for a base that is large enough."""

    def __init__(
        self, catalog: Catalog, directory: Path, *, exact_below: int = EXACT_BELOW
    ) -> None:
        """`directory` is Chroma's; its lock lies beside it."""
        self._catalog = catalog
        self._directory = directory
        self._lock = FileLock(directory.with_name(f"{directory.name}.lock"))
        self._exact_below = exact_below
        self._exact = ExactStore()
        self._exact_generation: dict[str, int] = {}
        self._chroma: VectorStore | None = None
        self._settled: dict[str, int] = {}  # the generation at which Chroma equalled the catalog

    def query(self, base: Base, vector: NDArray[np.float32], top_k: int) -> list[Scored]:
        """The nearest chunks by cosine, best first."""
        if base.chunks >= self._exact_below:
            try:
                if store := self.settle(base):
                    return store.query(collection_name(base), vector, top_k)
            except CorruptData:
                self._release()  # searching the truth needs no index; `verify` tells of the damage
        return self._load(base).query(collection_name(base), vector, top_k)

    def settle(self, base: Base) -> VectorStore | None:
        """Make Chroma equal to the catalog; None if it needs none or another process holds it."""
        if base.chunks < self._exact_below or not (store := self._open()):
            return None
        name = collection_name(base)
        current = self._settled.get(name) == base.generation
        if not current or store.count(name) != base.chunks:
            self._repair(store, base)
        return store

    def refresh(self, base: Base) -> None:
        """Settle after a change; a damaged index is left to `problems` and `rebuild`."""
        try:
            self.settle(base)
        except CorruptData:
            self._release()

    def drop(self, base: Base) -> None:
        """Forget a base that is being deleted."""
        name = collection_name(base)
        self._exact.drop(name)
        self._exact_generation.pop(name, None)
        self._settled.pop(name, None)
        if base.chunks >= self._exact_below and self._directory.is_dir():
            try:
                if store := self._open():
                    store.drop(name)
            except CorruptData:
                self._release()

    def problems(self, base: Base) -> list[Message]:
        """How Chroma differs from the catalog; empty for bases that do without."""
        if base.chunks < self._exact_below:
            return []
        try:
            store = self._open()
            if store is None:
                return [
                    message(
                        "the vector index was not checked: another process holds it, or it may "
                        "only be read"
                    )
                ]
            name = collection_name(base)
            held = store.ids(name) if store.count(name) else set()
        except CorruptData as error:
            self._release()
            return [error.message]
        expected = self._catalog.chunk_ids(base)
        faults = (
            (N_("the vector index lacks vectors of {count} chunks"), len(expected - held)),
            (N_("the vector index has vectors of {count} chunks"), len(held - expected)),
        )
        return [message(template, count=count) for template, count in faults if count]

    def rebuild(self, base: Base) -> None:
        """Fill the index again from nothing. Raises Busy when another process holds it."""
        self._exact_generation.clear()
        if base.chunks < self._exact_below:
            return
        if not self._lock.held:
            self._lock.require("rebuilding the vector index")
        try:
            if store := self._open():
                store.drop(collection_name(base))
        except CorruptData:
            self._close_chroma()
            shutil.rmtree(self._directory, ignore_errors=True)
        self._settled.clear()
        self.settle(base)

    def close(self) -> None:
        self._release()
        self._exact.close()
        self._exact_generation.clear()

    def _load(self, base: Base) -> ExactStore:
        name = collection_name(base)
        if self._exact_generation.get(name) != base.generation:
            ids, vectors = self._catalog.vectors(base)
            self._exact.drop(name)
            self._exact.create(name, base.dimension)
            self._exact.upsert(name, ids, vectors)
            self._exact_generation[name] = base.generation
        return self._exact

    def _open(self) -> VectorStore | None:
        if self._chroma is None and self._holds():
            from rwkv_rag.knowledge.vectors.chroma import ChromaStore

            try:
                self._chroma = ChromaStore(self._directory)
            except CorruptData:
                self._lock.release()
                raise
            self._sweep(self._chroma)
        return self._chroma

    def _holds(self) -> bool:
        """Whether Chroma's directory is ours; it never is in a data directory we may only read."""
        try:
            return self._lock.held or self._lock.acquire()
        except InputError:
            return False

    def _sweep(self, store: VectorStore) -> None:
        """Drop collections of bases that were deleted while another process held Chroma."""
        known = {collection_name(base) for base in self._catalog.bases()}
        for name in store.collections():
            if name.startswith(PREFIX) and name not in known:
                store.drop(name)

    def _repair(self, store: VectorStore, base: Base) -> None:
        name = collection_name(base)
        store.create(name, base.dimension)
        held, expected = store.ids(name), self._catalog.chunk_ids(base)
        store.delete(name, sorted(held - expected))
        ids, vectors = self._catalog.vectors(base, sorted(expected - held))
        store.upsert(name, ids, vectors)
        self._settled[name] = base.generation

    def _release(self) -> None:
        self._close_chroma()
        self._lock.release()

    def _close_chroma(self) -> None:
        if self._chroma is not None:
            self._chroma.close()
            self._chroma = None


def collection_name(base: Base) -> str:
    """One collection for each base and embedding model."""
    return f"{PREFIX}{base.id}-{hashlib.sha256(base.model.encode()).hexdigest()[:12]}"
