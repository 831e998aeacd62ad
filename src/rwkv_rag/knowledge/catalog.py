"""The truth, in SQLite: knowledge bases, documents, chunks, embeddings. Knows no model and no file.

Embeddings are keyed by (model, content hash of the embedded text), so that text seen before is
never embedded again. They are stored as float16: half the size, and a cosine is off by 0.0005 at
most. The lexical index is kept in the same transactions; vector indexes follow `generation`, which
grows with every change of a base's chunks.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rwkv_rag.errors import AlreadyExists, NotFound
from rwkv_rag.knowledge import lexical
from rwkv_rag.knowledge.database import Database
from rwkv_rag.knowledge.split import embedded_text
from rwkv_rag.types import Chunk, Document, DocumentInfo, EmbeddingModel, KnowledgeBase, Page

T = TypeVar("T")
VARIABLES = 500  # SQLite's older builds take 999 parameters a statement


@dataclass(frozen=True, slots=True)
class Base:
    """A knowledge base's row. `generation` grows with every change of its chunks."""

    id: int
    name: str
    chunk_size: int
    chunk_overlap: int
    model: str
    dimension: int
    generation: int
    documents: int
    chunks: int

    def public(self) -> KnowledgeBase:
        return KnowledgeBase(
            name=self.name,
            chunk_size=self.chunk_size,
            chunk_overlap=self.chunk_overlap,
            embedding_model=self.model,
            documents=self.documents,
            chunks=self.chunks,
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """What tells a document from others. `source` is the path it was read from, if any."""

    name: str
    sha256: str
    source: Path | None


def content_hash(text: str) -> bytes:
    """Identity of an embedded text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Catalog:
    """All reading and writing of the truth; every method is one transaction."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)

    def close(self) -> None:
        self._database.close()

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """Calls inside see one consistent state."""
        return self._database.read()

    def write(self) -> AbstractContextManager[sqlite3.Connection]:
        """Calls inside are one transaction."""
        return self._database.write()

    # Knowledge bases

    def create_base(self, name: str, *, size: int, overlap: int, model: EmbeddingModel) -> None:
        """Raises AlreadyExists."""
        with self.write() as db:
            if db.execute("SELECT 1 FROM bases WHERE name = ?", (name,)).fetchone():
                raise AlreadyExists(
                    "the knowledge base {name} exists already; choose another name or delete it",
                    name=name,
                )
            row = db.execute(
                "INSERT INTO bases (name, chunk_size, chunk_overlap, model, dimension)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, size, overlap, model.id, model.dimension),
            )
            lexical.create(db, _row_id(row))

    def bases(self) -> list[Base]:
        with self.read() as db:
            rows = db.execute(
                """SELECT id, name, chunk_size, chunk_overlap, model, dimension, generation,
                    (SELECT count(*) FROM documents WHERE base = bases.id),
                    (SELECT count(*) FROM chunks WHERE base = bases.id)
                FROM bases ORDER BY name"""
            )
            return [Base(*row) for row in rows]

    def base(self, name: str) -> Base:
        """Raises NotFound with the names that exist."""
        bases = self.bases()
        for base in bases:
            if base.name == name:
                return base
        known = ", ".join(base.name for base in bases)
        if known:
            raise NotFound(
                "there is no knowledge base {name}; there are: {known}", name=name, known=known
            )
        raise NotFound(
            "there is no knowledge base {name}; there is none yet; index some documents first",
            name=name,
        )

    def delete_base(self, base: Base) -> None:
        with self.write() as db:
            contents = _contents(db, "base", base.id)
            lexical.drop(db, base.id)
            db.execute("DELETE FROM bases WHERE id = ?", (base.id,))
            _forget_embeddings(db, contents)

    # Documents

    def documents(self, base: Base) -> list[DocumentInfo]:
        with self.read() as db:
            rows = db.execute(
                """SELECT name, sha256, media_type, characters,
                    (SELECT count(*) FROM chunks WHERE document = documents.id),
                    json_array_length(pages)
                FROM documents WHERE base = ? ORDER BY name""",
                (base.id,),
            )
            return [DocumentInfo(*row) for row in rows]

    def named(self, base: Base, name: str) -> Stored | None:
        """The document of this name."""
        return self._stored(base, "name", name)

    def read_from(self, base: Base, source: Path) -> Stored | None:
        """The document that was read from this path."""
        return self._stored(base, "source", os.fsencode(source))

    def holding(self, base: Base, sha256: str) -> Stored | None:
        """The document with this content."""
        return self._stored(base, "sha256", sha256)

    def _stored(self, base: Base, column: str, value: str | bytes) -> Stored | None:
        query = f"SELECT name, sha256, source FROM documents WHERE base = ? AND {column} = ?"
        with self.read() as db:
            row = db.execute(query + " ORDER BY id LIMIT 1", (base.id, value)).fetchone()
        if row is None:
            return None
        name, sha256, source = row
        return Stored(name, sha256, Path(os.fsdecode(source)) if source else None)

    def set_source(self, base: Base, name: str, source: Path) -> None:
        """Note where a stored document is read from."""
        with self.write() as db:
            db.execute(
                "UPDATE documents SET source = ? WHERE base = ? AND name = ?",
                (os.fsencode(source), base.id, name),
            )

    def document(self, base: Base, name: str) -> Document:
        """Raises NotFound."""
        with self.read() as db:
            row = db.execute(
                "SELECT name, text, sha256, media_type, pages FROM documents"
                " WHERE base = ? AND name = ?",
                (base.id, name),
            ).fetchone()
        if row is None:
            raise NotFound(
                "the knowledge base {base} has no document {name}", base=base.name, name=name
            )
        name, text, sha256, media_type, pages = row
        return Document(name, text, sha256, media_type, _pages(pages))

    def put_document(
        self,
        base: Base,
        document: Document,
        chunks: Sequence[Chunk],
        *,
        source: Path | None = None,
        instead_of: str = "",
    ) -> None:
        """Store a document with its chunks and words, in place of one of the same name.

        `instead_of` names another one that goes in the same transaction.
        """
        with self.write() as db:
            replaced = self._delete_document(db, base, document.name)
            replaced |= self._delete_document(db, base, instead_of)
            row = db.execute(
                "INSERT INTO documents"
                " (base, name, sha256, media_type, characters, pages, text, source)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    base.id,
                    document.name,
                    document.sha256,
                    document.media_type,
                    len(document.text),
                    json.dumps([(p.number, p.start, p.end) for p in document.pages]),
                    document.text,
                    os.fsencode(source) if source else b"",
                ),
            )
            for chunk in chunks:
                _insert_chunk(db, base, _row_id(row), chunk)
            _forget_embeddings(db, replaced)
            _changed(db, base)

    def remove_document(self, base: Base, name: str) -> None:
        """Raises NotFound."""
        with self.write() as db:
            if not self.named(base, name):
                raise NotFound(
                    "the knowledge base {base} has no document {name}", base=base.name, name=name
                )
            _forget_embeddings(db, self._delete_document(db, base, name))
            _changed(db, base)

    def _delete_document(self, db: sqlite3.Connection, base: Base, name: str) -> set[bytes]:
        """Delete without its embeddings; their content hashes are returned."""
        row = db.execute(
            "SELECT id FROM documents WHERE base = ? AND name = ?", (base.id, name)
        ).fetchone()
        if row is None:
            return set()
        contents = _contents(db, "document", row[0])
        ids = db.execute("SELECT id FROM chunks WHERE document = ?", row)
        lexical.remove(db, base.id, [chunk_id for (chunk_id,) in ids])
        db.execute("DELETE FROM documents WHERE id = ?", row)
        return contents

    # Chunks

    def chunk_ids(self, base: Base) -> set[int]:
        with self.read() as db:
            return {i for (i,) in db.execute("SELECT id FROM chunks WHERE base = ?", (base.id,))}

    def chunks(self, base: Base, ids: Sequence[int]) -> dict[int, tuple[Chunk, tuple[Page, ...]]]:
        """Chunks by row id, with all pages of their documents; unknown ids are left out."""
        found: dict[int, tuple[Chunk, tuple[Page, ...]]] = {}
        with self.read() as db:
            for part in _parts(ids):
                rows = db.execute(
                    _CHUNK + f" WHERE chunks.base = ? AND chunks.id IN ({_marks(part)})",
                    (base.id, *part),
                )
                found.update((row[0], (_chunk(row), _pages(row[-1]))) for row in rows)
        return found

    def chunk(self, base: Base, key: str) -> Chunk:
        """Raises NotFound."""
        with self.read() as db:
            row = db.execute(
                _CHUNK + " WHERE chunks.base = ? AND chunks.key = ?", (base.id, key)
            ).fetchone()
        if row is None:
            raise NotFound("the knowledge base {base} has no chunk {key}", base=base.name, key=key)
        return _chunk(row)

    def every_chunk(self, base: Base) -> Iterator[tuple[int, Chunk, bytes]]:
        """All chunks with row id and content hash; use it inside one `read()` or `write()`."""
        with self.read() as db:
            for row in db.execute(
                _CHUNK + " WHERE chunks.base = ? ORDER BY chunks.id", (base.id,)
            ).fetchall():
                yield row[0], _chunk(row), row[-2]

    # Embeddings

    def missing(self, model: str, contents: Sequence[bytes]) -> set[bytes]:
        """Which of the content hashes have no embedding yet."""
        known: set[bytes] = set()
        with self.read() as db:
            for part in _parts(contents):
                query = "SELECT content FROM embeddings WHERE model = ? AND content IN"
                rows = db.execute(f"{query} ({_marks(part)})", (model, *part))
                known.update(content for (content,) in rows)
        return set(contents) - known

    def put_embeddings(self, model: str, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        with self.write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?)",
                [(model, key, vector.astype("<f2").tobytes()) for key, vector in vectors.items()],
            )

    def forget_unusable_embeddings(self, base: Base) -> None:
        """Delete what cannot be a vector of the base's model, to be embedded again."""
        with self.write() as db:
            db.execute(
                "DELETE FROM embeddings WHERE model = ? AND length(vector) != ?",
                (base.model, 2 * base.dimension),
            )

    def vectors(
        self, base: Base, ids: Sequence[int] | None = None
    ) -> tuple[list[int], NDArray[np.float32]]:
        """Row ids and vectors (len(ids), dimension) of all or the given chunks."""
        query = (
            "SELECT chunks.id, vector FROM chunks JOIN embeddings"
            " ON embeddings.model = ? AND embeddings.content = chunks.content WHERE chunks.base = ?"
        )
        rows: list[tuple[int, bytes]] = []
        with self.read() as db:
            if ids is None:
                rows = db.execute(query, (base.model, base.id)).fetchall()
            for part in _parts(ids or ()):
                marks = f" AND chunks.id IN ({_marks(part)})"
                rows += db.execute(query + marks, (base.model, base.id, *part)).fetchall()
        # Damaged vectors are left out here; `verify` tells of them.
        whole = [row for row in rows if len(row[1]) == 2 * base.dimension]
        matrix = np.frombuffer(b"".join(vector for _, vector in whole), dtype="<f2")
        return [i for i, _ in whole], matrix.reshape(-1, base.dimension).astype(np.float32)


_CHUNK = (
    "SELECT chunks.id, key, documents.name, position, start, stop, chunks.text, page, heading,"
    " content, pages FROM chunks JOIN documents ON documents.id = chunks.document"
)


def _chunk(row: tuple[int, str, str, int, int, int, str, int | None, str, bytes, str]) -> Chunk:
    return Chunk(*row[1:9])


def _insert_chunk(db: sqlite3.Connection, base: Base, document: int, chunk: Chunk) -> None:
    text = embedded_text(chunk)
    row = db.execute(
        "INSERT INTO chunks (base, document, key, position, start, stop, page, heading, text,"
        " content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            base.id,
            document,
            chunk.id,
            chunk.index,
            chunk.start,
            chunk.end,
            chunk.page,
            chunk.heading,
            chunk.text,
            content_hash(text),
        ),
    )
    lexical.add(db, base.id, _row_id(row), text)


def _changed(db: sqlite3.Connection, base: Base) -> None:
    db.execute("UPDATE bases SET generation = generation + 1 WHERE id = ?", (base.id,))


def _contents(db: sqlite3.Connection, column: str, owner: int) -> set[bytes]:
    rows = db.execute(f"SELECT content FROM chunks WHERE {column} = ?", (owner,))
    return {content for (content,) in rows}


def _forget_embeddings(db: sqlite3.Connection, contents: set[bytes]) -> None:
    """A vector tells much about its text: what no chunk uses any more is deleted."""
    db.executemany(
        "DELETE FROM embeddings WHERE content = ?1"
        " AND NOT EXISTS (SELECT 1 FROM chunks WHERE content = ?1)",
        [(content,) for content in contents],
    )


def _pages(stored: str) -> tuple[Page, ...]:
    return tuple(Page(*page) for page in json.loads(stored))


def _row_id(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def _parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), VARIABLES):
        yield values[start : start + VARIABLES]
