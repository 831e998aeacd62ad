"""The table of jobs in the catalog's file: what was asked for and how far each job is.

Knows no process. A job tells its progress at most once a second and does not wait for others that
write: the next second's figures come anyway.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rwkv_rag.errors import Busy, CorruptData, Message, NotFound, RagError
from rwkv_rag.knowledge.database import Database
from rwkv_rag.tuning import settings as written
from rwkv_rag.types import TuneJob, TuneSettings

CATALOG = "catalog.sqlite3"
EVERY_S = 1.0
PATIENCE_S = 60.0  # for what must be written, such as how a job ended
_IMPATIENT_MS = 100
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is easily misread
_ID_LENGTH = 4
_TRIES = 100  # draws of an id; another process may take one at the same moment
_COLUMNS = (
    "id, settings, status, created, step, steps, loss, tokens_per_s, eta_s, lr, memory_bytes, "
    "reason, before, after"
)
_TOLD = {
    *("status", "step", "steps", "loss", "tokens_per_s", "eta_s", "lr", "memory_bytes"),
    *("reason", "before", "after"),
}


class Ledger:
    """All jobs of one home."""

    def __init__(self, home: Path) -> None:
        self._path = home / CATALOG

    def add(self, settings: TuneSettings) -> str:
        """Enter a new job as waiting; returns its id, short and free of look-alikes.

        Raises CorruptData where the table takes none.
        """
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        refused = ""
        for _ in range(_TRIES):
            id = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
            values = (id, created, written.to_json(settings), "waiting", settings.steps)
            try:
                with self._open() as database, database.write() as db:
                    db.execute(
                        "INSERT INTO jobs (id, created, settings, status, steps)"
                        " VALUES (?, ?, ?, ?, ?)",
                        values,
                    )
                    return id
            except sqlite3.IntegrityError as error:
                refused = str(error)
        raise CorruptData(
            "{path} takes no new job ({refused}); put back an older copy",
            path=self._path,
            refused=refused,
        )

    def remove(self, id: str) -> None:
        """Forget a job."""
        with self._open() as database, database.write() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (id,))

    def jobs(self) -> list[TuneJob]:
        """All jobs as they were last told of, the newest first."""
        with self._open() as database, database.read() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM jobs ORDER BY number DESC").fetchall()
        return [_job(row) for row in rows]

    def find(self, id: str) -> TuneJob:
        """The job whose id is or alone begins with `id`. NotFound with those there are."""
        jobs = self.jobs()
        found = [job for job in jobs if id and job.id.startswith(id)]
        exact = [job for job in found if job.id == id]
        if exact or len(found) == 1:
            return (exact or found)[0]
        if found:
            several = ", ".join(job.id for job in found)
            raise NotFound(
                "several jobs begin with {id!r}: {several}; give one more letter",
                id=id,
                several=several,
            )
        if not jobs:
            raise NotFound("there is no job {id!r}; none has been started yet", id=id)
        raise NotFound(
            "there is no job {id!r}; there are: {jobs}",
            id=id,
            jobs=", ".join(job.id for job in jobs[:20]),
        )

    def tell(self, id: str, **values: Any) -> None:
        """Write new values of a job, waiting for others as long as it takes."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._tell(id, values)
            except Busy:
                if time.monotonic() > deadline:
                    raise

    def mention(self, id: str, **values: Any) -> bool:
        """Write new values of a job if nobody else is writing; whether it worked."""
        try:
            self._tell(id, values, patience_ms=_IMPATIENT_MS)
        except RagError:  # a full disk stops the training elsewhere, and says so
            return False
        return True

    def _tell(self, id: str, values: dict[str, Any], patience_ms: int | None = None) -> None:
        unknown = values.keys() - _TOLD
        assert not unknown, unknown
        if "reason" in values:
            reason = values["reason"]
            values = {**values, "reason": json.dumps(reason.json()) if reason else ""}
        names = ", ".join(f"{name} = ?" for name in values)
        with self._open() as database:
            if patience_ms is not None:
                with database.read() as db:
                    db.execute(f"PRAGMA busy_timeout = {patience_ms}")
            with database.write() as db:
                db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*values.values(), id))

    @contextmanager
    def _open(self) -> Iterator[Database]:
        with closing(Database(self._path)) as database:
            yield database


def is_id(text: str) -> bool:
    """Whether this is an id as jobs are given one, and so the name of a folder of our own."""
    return len(text) == _ID_LENGTH and set(text) <= set(_ALPHABET)


class Progress:
    """A sink that tells the ledger of the newest step, at most once a second."""

    def __init__(self, ledger: Ledger, id: str) -> None:
        self._ledger, self._id, self._told = ledger, id, -EVERY_S

    def log(self, record: Any) -> None:
        now = time.monotonic()
        if now - self._told < EVERY_S:
            return
        self._told = now
        self._ledger.mention(self._id, **told(record))


def told(record: Any) -> dict[str, Any]:
    """What the ledger knows of a step's figures."""
    names = ("step", "loss", "tokens_per_s", "eta_s", "lr", "memory_bytes")
    return {name: record[name] for name in names}


def _job(row: tuple[Any, ...]) -> TuneJob:
    """A row as a job; one whose settings are damaged has failed, and the others are shown."""
    id, settings, *rest = row
    names = (
        *("status", "created", "step", "steps", "loss", "tokens_per_s", "eta_s", "lr"),
        *("memory_bytes", "reason", "before", "after"),
    )
    values = dict(zip(names, rest, strict=True))
    values["reason"] = _reason(values["reason"])
    try:
        parsed = written.from_json(settings, source=f"the settings of job {id}")
    except CorruptData as error:
        parsed = TuneSettings(name=id, data=Path())
        values |= {"status": "failed", "reason": error.message}
    return TuneJob(id, parsed, **values)


def _reason(stored: str) -> Message | None:
    """A stored reason; earlier versions stored the English text alone."""
    if not stored:
        return None
    try:
        return Message.from_json(json.loads(stored))
    except ValueError:
        return Message(stored)
