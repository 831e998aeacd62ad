"""The door to the knowledge bases of one data directory: the `Knowledge` protocol. Knows no model.

Two processes on one directory: any number may search at any time; one at a time may change things
(a second gets `Busy` at once). What one process commits, the others see at their next call.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from rwkv_rag.errors import InputError, Message, ModelMismatch, message
from rwkv_rag.i18n import N_
from rwkv_rag.interfaces import Embedder, Reranker, SearchStage
from rwkv_rag.knowledge import lexical
from rwkv_rag.knowledge.catalog import Base, Catalog, content_hash
from rwkv_rag.knowledge.ingest import Ingest
from rwkv_rag.knowledge.locks import FileLock
from rwkv_rag.knowledge.search import RERANK_WEIGHT, Search
from rwkv_rag.knowledge.sources import find_sources
from rwkv_rag.knowledge.split import check_sizes, embedded_text
from rwkv_rag.knowledge.vectors.dense import EXACT_BELOW, DenseIndex
from rwkv_rag.types import Chunk, Document, DocumentInfo, Hit, IndexEvent, KnowledgeBase

LONGEST_NAME = 64
T = TypeVar("T")


def _never() -> bool:
    return False


class Library:
    """All knowledge bases below `home`. Models may be given as functions that load them.

    `rerank_weight` is the reranker's part of a reranked score; `exact_below` the number of chunks
    from which Chroma serves a base; `catalog` and `chroma` are paths that lie elsewhere.
    """

    def __init__(
        self,
        home: Path,
        embedder: Embedder | Callable[[], Embedder],
        reranker: Reranker | Callable[[], Reranker] | None = None,
        *,
        rerank_weight: float = RERANK_WEIGHT,
        exact_below: int = EXACT_BELOW,
        catalog: Path | None = None,
        chroma: Path | None = None,
    ) -> None:
        self._catalog = Catalog(catalog or home / "catalog.sqlite3")
        self._dense = DenseIndex(self._catalog, chroma or home / "chroma", exact_below=exact_below)
        self._writer = FileLock(home / "writer.lock")
        self._given_embedder = embedder
        self._given_reranker = reranker
        self._rerank_weight = rerank_weight
        self._embedder: Embedder | None = None
        self._reranker: Reranker | None = None

    def close(self) -> None:
        """Let go of all files. A half-consumed `index` must be closed first."""
        self._dense.close()
        self._catalog.close()
        self._writer.release()

    def create(self, name: str, *, chunk_size: int = 400, chunk_overlap: int = 60) -> KnowledgeBase:
        """Make an empty knowledge base. Raises InputError (bad name or sizes) or AlreadyExists."""
        name = checked_name(name)
        check_sizes(chunk_size, chunk_overlap)
        with self._changing(f"creating {name}"):
            model = self._model_embedder().model
            self._catalog.create_base(name, size=chunk_size, overlap=chunk_overlap, model=model)
            return self.base(name)

    def delete(self, name: str) -> None:
        """Remove a knowledge base and everything in it. Raises NotFound."""
        base = self._base(name)
        with self._changing(f"deleting {name}"):
            self._dense.drop(base)
            self._catalog.delete_base(base)

    def bases(self) -> list[KnowledgeBase]:
        """All knowledge bases by name. Loads no model."""
        return [base.public() for base in self._catalog.bases()]

    def base(self, name: str) -> KnowledgeBase:
        """One knowledge base. Raises NotFound with the names that exist."""
        return self._base(name).public()

    def documents(self, name: str) -> list[DocumentInfo]:
        """The documents of a knowledge base by name."""
        return self._catalog.documents(self._base(name))

    def document(self, name: str, document: str) -> Document:
        """A stored document with its text. Raises NotFound."""
        return self._catalog.document(self._base(name), document)

    def chunk(self, name: str, chunk_id: str) -> Chunk:
        """A stored chunk. Raises NotFound."""
        return self._catalog.chunk(self._base(name), chunk_id)

    def remove(self, name: str, document: str) -> None:
        """Remove one document from the base and from every index. Raises NotFound."""
        base = self._base(name)
        with self._changing(f"removing {document}"):
            self._catalog.remove_document(base, document)
            self._dense.refresh(self._base(name))

    def index(
        self, name: str, paths: Sequence[Path], *, cancelled: Callable[[], bool] = _never
    ) -> Generator[IndexEvent, None, None]:
        """Read files and directories into the base, lazily, one document a transaction.

        Raises NotFound and ModelMismatch at once, and Busy when the first event is asked for. An
        "indexed" event has a `reason` when the document was read only in part.
        """
        self._ingest(name, cancelled)
        return self._indexing(
            name, lambda: self._ingest(name, cancelled).files(find_sources(paths))
        )

    def add(self, name: str, documents: Sequence[Document]) -> Iterator[IndexEvent]:
        """Index documents already in memory."""
        self._ingest(name, _never)
        return self._indexing(name, lambda: self._ingest(name, _never).documents(documents))

    def search(
        self, name: str, query: str, *, top_k: int = 5, stage: SearchStage = "reranked"
    ) -> list[Hit]:
        """The best chunks for `query`, as ranked at `stage`. "lexical" loads no model."""
        base = self._base(name)
        embedder = None if stage == "lexical" else self._bound_embedder(base)
        reranker = self._model_reranker() if stage == "reranked" else None
        return Search(self._catalog, self._dense, name).run(
            query,
            top_k=top_k,
            stage=stage,
            embedder=embedder,
            reranker=reranker,
            rerank_weight=self._rerank_weight,
        )

    def verify(self, name: str) -> list[Message]:
        """Every way in which stored data contradicts itself; empty when index = truth."""
        with self._catalog.read() as db:
            base = self._base(name)
            names = [info.name for info in self._catalog.documents(base)]
            texts = {name: self._catalog.document(base, name).text for name in names}
            rows = list(self._catalog.every_chunk(base))
            words = lexical.indexed(db, base.id)
            vectors, _ = self._catalog.vectors(base)
        wrong = [c.id for _, c, _ in rows if texts[c.document][c.start : c.end] != c.text]
        stale = [c.id for _, c, key in rows if content_hash(embedded_text(c)) != key]
        ids = {row for row, _, _ in rows}
        faults = (
            (N_("{count} chunks differ from their document"), len(wrong)),
            (N_("{count} chunks differ from their embedded text"), len(stale)),
            (N_("{count} chunks are missing from the lexical index"), len(ids - words)),
            (N_("{count} lexical entries have no chunk"), len(words - ids)),
            (N_("{count} chunks have no usable embedding"), len(ids - set(vectors))),
        )
        found = [message(template, count=count) for template, count in faults if count]
        return found + self._dense.problems(base)

    def rebuild(self, name: str) -> None:
        """Make the lexical and the vector index anew from the truth; embed what lacks a vector."""
        base = self._base(name)
        with self._changing(f"rebuilding {name}"):
            with self._catalog.write() as db:
                lexical.drop(db, base.id)
                lexical.create(db, base.id)
                chunks = []
                for row, chunk, _ in self._catalog.every_chunk(base):
                    lexical.add(db, base.id, row, embedded_text(chunk))
                    chunks.append(chunk)
            self._catalog.forget_unusable_embeddings(base)
            if self._catalog.missing(base.model, [content_hash(embedded_text(c)) for c in chunks]):
                for _ in self._ingest(name, _never).embed(chunks):
                    pass
            self._dense.rebuild(self._base(name))

    def _indexing(
        self, name: str, events: Callable[[], Iterator[IndexEvent]]
    ) -> Generator[IndexEvent, None, None]:
        with self._changing(f"indexing into {name}"):
            yield from events()
            self._dense.refresh(self._base(name))

    def _ingest(self, name: str, cancelled: Callable[[], bool]) -> Ingest:
        base = self._base(name)
        return Ingest(self._catalog, base, self._bound_embedder(base), cancelled)

    def _base(self, name: str) -> Base:
        return self._catalog.base(unicodedata.normalize("NFC", name))

    @contextmanager
    def _changing(self, doing: str) -> Iterator[None]:
        self._writer.require(doing)
        try:
            yield
        finally:
            self._writer.release()

    def _model_embedder(self) -> Embedder:
        if self._embedder is None:
            self._embedder = _made(self._given_embedder, "embed_documents")
        return self._embedder

    def _model_reranker(self) -> Reranker | None:
        if self._reranker is None and self._given_reranker is not None:
            self._reranker = _made(self._given_reranker, "rerank")
        return self._reranker

    def _bound_embedder(self, base: Base) -> Embedder:
        """The embedder, if the base was made with it. Raises ModelMismatch."""
        embedder = self._model_embedder()
        model = embedder.model
        if (model.id, model.dimension) != (base.model, base.dimension):
            raise ModelMismatch(
                "the knowledge base {base} was made with the embedding model {model} "
                "({dimension} numbers), and now {id} ({dimension2}) is in use; go back to "
                "that model, or index the documents into a new base with `rwkv-rag index "
                "PATH --kb NEW_NAME`",
                base=base.name,
                model=base.model,
                dimension=base.dimension,
                id=model.id,
                dimension2=model.dimension,
            )
        return embedder


def _made(given: T | Callable[[], T], method: str) -> T:
    """The model itself, made now if a function was given. Models may be callable themselves."""
    return cast(T, given) if hasattr(given, method) else cast(Callable[[], T], given)()


def checked_name(name: str) -> str:
    """The name in composed Unicode form. Raises InputError."""
    name = unicodedata.normalize("NFC", name)
    allowed = all(unicodedata.category(c)[0] in "LNM" or c in "-_." for c in name)
    if not (0 < len(name) <= LONGEST_NAME and allowed and name[0] not in "-."):
        raise InputError(
            "{name!r} is no name for a knowledge base; use 1 to {longest_name} letters "
            "(of any script), digits, - _ and . and begin with none of - and .",
            name=name[: LONGEST_NAME + 1],
            longest_name=LONGEST_NAME,
        )
    return name
