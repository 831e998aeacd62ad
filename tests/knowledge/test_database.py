from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rwkv_rag.errors import Busy, CorruptData, InputError, RagError
from rwkv_rag.knowledge import database
from rwkv_rag.knowledge.database import Database
from rwkv_rag.knowledge.migrations import MIGRATIONS

from .conftest import Unprivileged

INSERT = "INSERT INTO embeddings VALUES ('m', ?, x'00')"


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "a")) as stored:
        with pytest.raises(RuntimeError), stored.write() as db:
            db.execute(INSERT, (b"1",))
            raise RuntimeError
        with stored.read() as db:
            assert db.execute("SELECT count(*) FROM embeddings").fetchone() == (0,)


def test_a_reader_keeps_its_view_while_another_writes(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "a")) as one, closing(Database(tmp_path / "a")) as two:
        with one.read() as reader:
            count = reader.execute("SELECT count(*) FROM embeddings").fetchone()
            with two.write() as writer:
                writer.execute(INSERT, (b"1",))
            assert reader.execute("SELECT count(*) FROM embeddings").fetchone() == count
        with one.read() as reader:
            assert reader.execute("SELECT count(*) FROM embeddings").fetchone() == (1,)


def test_a_second_writer_is_told_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "WAIT_S", 0.1)
    one, two = Database(tmp_path / "a"), Database(tmp_path / "a")
    with one.write(), pytest.raises(Busy, match="another process is writing"), two.write():
        pass
    one.close()
    two.close()


@pytest.mark.parametrize(
    "damage", [b"hello, I am no database" * 99, b"SQLite format 3\0" + bytes(99)]
)
def test_a_file_that_is_no_database_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a").write_bytes(damage)
    with pytest.raises(CorruptData, match=r"a is damaged .* restore it from a copy"):
        Database(tmp_path / "a")


def test_a_half_written_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with closing(Database(path)) as stored, stored.write() as db:
        db.executemany(INSERT, [(bytes([n]) * 3000,) for n in range(200)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def read_all() -> None:
        with closing(Database(path)) as stored, stored.read() as db:
            db.execute("SELECT sum(length(content)) FROM embeddings").fetchone()

    with pytest.raises(CorruptData, match="a is damaged"):
        read_all()


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(InputError, match="home cannot be used as the data directory"):
        Database(tmp_path / "home" / "catalog")


def test_our_own_mistakes_are_not_called_damage(tmp_path: Path) -> None:
    stored = Database(tmp_path / "a")
    with pytest.raises(sqlite3.IntegrityError), stored.write() as db:
        db.execute("INSERT INTO documents VALUES (1, 99, 'a', '', '', 0, '[]', '', x'')")
    stored.close()


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match=r"a is a directory, not a database; .* --home"):
        Database(tmp_path / "a")


def test_what_may_only_be_read_is_read_and_not_written(unprivileged: Unprivileged) -> None:
    path = unprivileged.directory / "a"
    with closing(Database(path)) as stored, stored.write() as db:
        db.execute(INSERT, (b"1",))
    with unprivileged(), closing(Database(path)) as stored:
        with stored.read() as db:
            assert db.execute("SELECT count(*) FROM embeddings").fetchone() == (1,)
        with pytest.raises(InputError, match="cannot be opened for writing"), stored.write():
            pass
    with closing(Database(path)) as stored, stored.write() as db:
        db.execute(INSERT, (b"2",))


def test_on_a_full_disk_reading_goes_on_and_nothing_is_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database(tmp_path / "a")) as stored, stored.write() as db:
        db.execute(INSERT, (b"1",))

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(database, "migrate", full)
    with closing(Database(tmp_path / "a")) as stored:
        with stored.read() as db:
            assert db.execute("SELECT count(*) FROM embeddings").fetchone() == (1,)
        with pytest.raises(RagError, match="because it is full; free some space"), stored.write():
            pass


def test_an_older_schema_that_may_only_be_read_is_refused_with_advice(
    unprivileged: Unprivileged,
) -> None:
    path = unprivileged.directory / "a"
    with closing(Database(path)) as stored, stored.write() as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")
    with unprivileged(), pytest.raises(InputError, match="make it writable once"):
        Database(path)
