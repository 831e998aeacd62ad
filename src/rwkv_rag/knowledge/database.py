"""The catalog's SQLite file: opening, transactions, and SQLite's errors turned into ours.

Knows nothing of what is stored. Write-ahead logging lets any number of processes read while one
writes; a killed process leaves the last committed state behind.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rwkv_rag.errors import (
    Busy,
    CorruptData,
    InputError,
    Message,
    MissingExtra,
    RagError,
    system_reason,
)
from rwkv_rag.knowledge.migrations import migrate, require_current

WAIT_S = 10.0  # how long to wait for another process's transaction
MEND = Message("restore it from a copy, or move it away and index your documents again")


class Database:
    """One connection; every statement runs inside `read()` or `write()`.

    Where the file or its directory may only be read, or the disk is full, reading goes on and
    `write()` is refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                "{parent} cannot be used as the data directory ({reason}); choose another "
                "with --home",
                parent=path.parent,
                reason=system_reason(error),
            ) from error
        except ValueError as error:  # a zero character
            raise InputError(
                "{parent!r} is no path ({reason}); check --home", parent=path.parent, reason=error
            ) from error
        if os.path.isdir(path):
            raise InputError(
                "{path} is a directory, not a database; move it away or choose another --home",
                path=path,
            )
        self._refusal: RagError | None = None
        with self._translated():
            try:
                self._db = self._prepared(_connected(str(path)))
            except sqlite3.OperationalError as error:
                said = str(error)
                if not ((_refused(said) or _failed(said)) and os.path.isfile(path)):
                    raise
                self._db = self._for_reading()
                self._refusal = self._explained(error)

    def _prepared(self, db: sqlite3.Connection) -> sqlite3.Connection:
        with _closed_on_error(db):
            db.execute("PRAGMA foreign_keys = ON")
            migrate(db, self.path)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        return db

    def _for_reading(self) -> sqlite3.Connection:
        """A connection to a file in a directory we must not write to.

        SQLite reads such a file only if it may take it for unchanging, which it is unless another
        user writes to it meanwhile or a log of changes lies beside it.
        """
        log = self.path.with_name(self.path.name + "-wal")
        unchanging = "" if os.path.exists(log) and log.stat().st_size else "&immutable=1"
        uri = f"{self.path.resolve().as_uri()}?mode=ro{unchanging}"
        db = _connected(uri, uri=True)
        with _closed_on_error(db):
            require_current(db, self.path)
        return db

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent view: what other processes commit meanwhile stays unseen."""
        with self._transaction("BEGIN") as db:
            yield db

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises RagError in a data directory that may or can only be read."""
        if self._refusal:
            raise self._refusal
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
            return Busy(
                "another process is writing to {path}; try again in a moment", path=self.path
            )
        if "no such module: fts5" in text:
            return MissingExtra("this Python's SQLite lacks FTS5; install a Python that has it")
        if "full" in text:
            return RagError("the disk is full: {path} cannot grow; free some space", path=self.path)
        if _refused(text):
            return _unwritable(self.path)
        if _failed(text):
            return RagError(
                "the disk refuses {path} ({text}), most often because it is full; free some "
                "space and try again",
                path=self.path,
                text=text,
            )
        return CorruptData(
            "{path} is damaged ({text}); {mend}", path=self.path, text=text, mend=MEND
        )


def _connected(where: str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(
        where, timeout=WAIT_S, isolation_level=None, check_same_thread=False, uri=uri
    )


@contextmanager
def _closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        db.close()
        raise


def _refused(text: str) -> bool:
    """Whether SQLite's message says that the operating system did not let it write."""
    return "unable to open" in text or "readonly" in text


def _failed(text: str) -> bool:
    """Whether the disk itself failed, as it also does where there is no space for SQLite's log."""
    return "disk I/O" in text


def _unwritable(path: Path) -> InputError:
    return InputError(
        "{path} cannot be opened for writing; check its permissions and its directory's",
        path=path,
    )
