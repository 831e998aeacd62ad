"""The history of the catalog's schema: append-only functions. Knows nothing of how it is used.

`PRAGMA user_version` counts the functions applied. Never edit one that was released; append.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from rwkv_rag.errors import CorruptData, InputError

APPLICATION_ID = 0x52574B56  # "RWKV", so that a foreign SQLite file is recognised


def m001_initial(db: sqlite3.Connection) -> None:
    """Knowledge bases, documents, chunks and embeddings.

    Ids are never reused (AUTOINCREMENT): a derived index that still holds an id of something
    deleted can then not mistake it for something new.
    """
    db.execute(
        """CREATE TABLE bases (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            chunk_size INTEGER NOT NULL,
            chunk_overlap INTEGER NOT NULL,
            model TEXT NOT NULL,
            dimension INTEGER NOT NULL,
            generation INTEGER NOT NULL DEFAULT 0)"""
    )
    db.execute(
        """CREATE TABLE documents (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            base INTEGER NOT NULL REFERENCES bases (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            media_type TEXT NOT NULL,
            characters INTEGER NOT NULL,
            pages TEXT NOT NULL,
            text TEXT NOT NULL,
            UNIQUE (base, name))"""
    )
    db.execute(
        """CREATE TABLE chunks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            base INTEGER NOT NULL REFERENCES bases (id) ON DELETE CASCADE,
            document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
            key TEXT NOT NULL,
            position INTEGER NOT NULL,
            start INTEGER NOT NULL,
            stop INTEGER NOT NULL,
            page INTEGER,
            heading TEXT NOT NULL,
            text TEXT NOT NULL,
            content BLOB NOT NULL,
            UNIQUE (base, key),
            UNIQUE (document, position))"""
    )
    db.execute("CREATE INDEX chunks_by_content ON chunks (content)")
    db.execute(
        """CREATE TABLE embeddings (
            model TEXT NOT NULL,
            content BLOB NOT NULL,
            vector BLOB NOT NULL,
            PRIMARY KEY (model, content)) WITHOUT ROWID"""
    )


def m002_sources(db: sqlite3.Connection) -> None:
    """Where documents came from: a file's path as the file system has it, empty when unknown."""
    db.execute("ALTER TABLE documents ADD COLUMN source BLOB NOT NULL DEFAULT x''")
    db.execute("CREATE INDEX documents_by_source ON documents (base, source)")
    db.execute("CREATE INDEX documents_by_sha256 ON documents (base, sha256)")


def m003_jobs(db: sqlite3.Connection) -> None:
    """Fine-tuning jobs: what was asked for (JSON) and how far each is."""
    db.execute(
        """CREATE TABLE jobs (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            created TEXT NOT NULL,
            settings TEXT NOT NULL,
            status TEXT NOT NULL,
            step INTEGER NOT NULL DEFAULT 0,
            steps INTEGER NOT NULL DEFAULT 0,
            loss REAL,
            tokens_per_s REAL NOT NULL DEFAULT 0,
            eta_s REAL,
            lr REAL NOT NULL DEFAULT 0,
            memory_bytes INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '',
            before REAL,
            after REAL)"""
    )


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    m001_initial,
    m002_sources,
    m003_jobs,
)


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date in one transaction.

    Raises CorruptData for a database of a newer version or of another program.
    """
    if _version(db) == len(MIGRATIONS) and _application(db) == APPLICATION_ID:
        return
    db.execute("BEGIN IMMEDIATE")  # two processes may start on an empty directory at once
    try:
        version = _version(db)
        _refuse_foreign(db, path, version)
        for step in MIGRATIONS[version:]:
            step(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def require_current(db: sqlite3.Connection, path: Path) -> None:
    """Raises InputError for a schema that has to be brought up to date, which needs writing."""
    version = _version(db)
    _refuse_foreign(db, path, version)
    if version < len(MIGRATIONS):
        raise InputError(
            "{path} was written by an older version of rwkv-rag and cannot be opened for "
            "writing; make it writable once, so that it can be brought up to date",
            path=path,
        )


def _refuse_foreign(db: sqlite3.Connection, path: Path, version: int) -> None:
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and _application(db) != APPLICATION_ID:
        raise CorruptData(
            "{path} belongs to another program; choose another data directory or move it away",
            path=path,
        )
    if version > len(MIGRATIONS):
        raise CorruptData(
            "{path} was written by a newer version of rwkv-rag (schema {version}, this "
            "program knows {migrations}); upgrade rwkv-rag or use another data directory",
            path=path,
            version=version,
            migrations=len(MIGRATIONS),
        )


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _application(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA application_id").fetchone()[0])
