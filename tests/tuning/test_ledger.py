"""The table of jobs: found by the beginning of an id, told without waiting for others."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from rwkv_rag.errors import Busy, CorruptData, NotFound
from rwkv_rag.tuning import ledger as module
from rwkv_rag.tuning.ledger import CATALOG, Ledger, Progress
from rwkv_rag.types import TuneSettings

Make = Callable[..., TuneSettings]
RECORD = {
    "step": 3, "loss": 2.5, "tokens_per_s": 10.0, "eta_s": 4.0, "lr": 0.1, "memory_bytes": 7,
    "task": "language", "norm": 1.0, "tokens": 8, "seconds": 0.5,
}  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


@pytest.fixture
def writing(ledger: Ledger, tmp_path: Path, settings: Make) -> Iterator[str]:
    """A job, while another process is in the middle of writing to the catalog."""
    id = ledger.add(settings())
    with closing(sqlite3.connect(tmp_path / CATALOG, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield id
        other.execute("ROLLBACK")


def test_a_new_job_waits_and_keeps_its_settings(ledger: Ledger, settings: Make) -> None:
    id = ledger.add(settings(lr=0.5, parts=("att",)))
    job = ledger.find(id)
    assert (job.status, job.step, job.steps, job.loss) == ("waiting", 0, 6, None)
    assert job.settings == settings(lr=0.5, parts=("att",))
    assert len(id) == 4 and id.isalnum() and id == id.lower()


def test_jobs_are_listed_from_the_newest_on(ledger: Ledger, settings: Make) -> None:
    made = [ledger.add(settings(name=f"n{number}")) for number in range(3)]
    assert [job.id for job in ledger.jobs()] == made[::-1]


def test_an_id_may_be_shortened_while_it_is_clear(
    ledger: Ledger, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFound, match="there is no job 'a'; none has been started yet"):
        ledger.find("a")
    letters = iter("abcdabxyqrst")
    monkeypatch.setattr(module.secrets, "choice", lambda alphabet: next(letters))
    for _ in range(3):
        ledger.add(settings())
    assert ledger.find("q").id == "qrst"
    assert ledger.find("abc").id == "abcd"
    with pytest.raises(NotFound, match=r"several jobs begin with 'ab': abxy, abcd; .* one more"):
        ledger.find("ab")
    for wrong in ("z", "", "abcde", "%"):
        with pytest.raises(NotFound, match="there are: qrst, abxy, abcd"):
            ledger.find(wrong)


def test_an_id_that_is_taken_is_drawn_again(
    ledger: Ledger, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = iter("aaaaaaaabbbb")
    monkeypatch.setattr(module.secrets, "choice", lambda alphabet: next(letters))
    assert [ledger.add(settings()), ledger.add(settings())] == ["aaaa", "bbbb"]


def test_a_table_that_takes_no_job_is_told_and_not_tried_for_ever(
    ledger: Ledger, settings: Make, tmp_path: Path
) -> None:
    ledger.add(settings())
    with closing(sqlite3.connect(tmp_path / CATALOG)) as db:
        db.execute(
            "CREATE TRIGGER no BEFORE INSERT ON jobs BEGIN SELECT RAISE(ABORT, 'constraint'); END"
        )
    with pytest.raises(CorruptData, match=r"catalog\.sqlite3 takes no new job \(constraint\)"):
        ledger.add(settings())


def test_a_damaged_row_fails_alone(ledger: Ledger, settings: Make, tmp_path: Path) -> None:
    bad, good = ledger.add(settings()), ledger.add(settings(name="good"))
    with closing(sqlite3.connect(tmp_path / CATALOG)) as db, db:
        db.execute("UPDATE jobs SET settings = '{' WHERE id = ?", (bad,))
    assert [job.settings.name for job in ledger.jobs()] == ["good", bad]
    assert ledger.find(good).status == "waiting"
    failed = ledger.find(bad)
    assert failed.status == "failed" and f"the settings of job {bad} cannot be read" in str(
        failed.reason
    )


def test_progress_does_not_wait_for_others_that_write(ledger: Ledger, writing: str) -> None:
    began = time.monotonic()
    Progress(ledger, writing).log(RECORD)
    assert not ledger.mention(writing, step=3)
    assert time.monotonic() - began < 2
    assert ledger.find(writing).step == 0


def test_how_a_job_ended_is_written_however_long_it_takes(
    ledger: Ledger, writing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = iter([Busy("once"), Busy("twice"), None])

    def tell(id: str, values: object, patience_ms: int | None = None) -> None:
        if error := next(tries):
            raise error

    monkeypatch.setattr(ledger, "_tell", tell)
    ledger.tell(writing, status="done")
    assert next(tries, "all used") == "all used"


def test_progress_is_told_at_most_once_a_second(
    ledger: Ledger, settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    id = ledger.add(settings())
    progress, seen = Progress(ledger, id), []
    for step in range(1, 8):
        progress.log({**RECORD, "step": step})
        seen.append(ledger.find(id).step)
        now[0] += 0.4
    assert seen == [1, 1, 1, 4, 4, 4, 7]
    assert ledger.find(id).memory_bytes == 7
