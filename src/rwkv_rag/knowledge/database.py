"""The catalog's SQLite file: opening, transactions, and SQLite's errors turned into ours.

Knows nothing of what is stored. Write-ahead logging lets any number of processes read while one
writes; a killed process leaves the last committed state behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rwkv_rag.errors import Busy, CorruptData, InputError, MissingExtra, RagError
from rwkv_rag.knowledge.migrations import migrate

WAIT_S = 10.0  # how long to wait for another process's transaction
MEND = "restore it from a copy, or move it away and index your documents again"


class Database:
    """One connection; every statement runs inside `read()` or `write()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{path.parent} cannot be used as the data directory ({error.strerror});"
                " choose another with --home"
            ) from error
        with self._translated():
            self._db = sqlite3.connect(
                path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA foreign_keys = ON")
        migrate(self._db, self.path)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view: what other processes commit meanwhile stays unseen."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        with self._transaction("BEGIN IMMEDIATE") as db:
            yield db

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._translated():
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute(begin)
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
            raise  # our mistakes, not the user's
        except sqlite3.DatabaseError as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.DatabaseError) -> RagError:
        text = str(error)
        if "locked" in text or "busy" in text:
            return Busy(f"another process is writing to {self.path}; try again in a moment")
        if "no such module: fts5" in text:
            return MissingExtra("this Python's SQLite lacks FTS5; install a Python that has it")
        if "full" in text:
            return RagError(f"the disk is full: {self.path} cannot grow; free some space")
        if "unable to open" in text or "readonly" in text:
            return InputError(f"{self.path} cannot be opened for writing; check its permissions")
        return CorruptData(f"{self.path} is damaged ({text}); {MEND}")
