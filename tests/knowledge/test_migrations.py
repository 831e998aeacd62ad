from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rwkv_rag.errors import CorruptData
from rwkv_rag.knowledge import migrations
from rwkv_rag.knowledge.migrations import APPLICATION_ID, MIGRATIONS, migrate

SCHEMA = {
    "bases": "id name chunk_size chunk_overlap model dimension generation",
    "documents": "id base name sha256 media_type characters pages text source",
    "chunks": "id base document key position start stop page heading text content",
    "embeddings": "model content vector",
    "jobs": "number id created settings status step steps loss tokens_per_s eta_s lr memory_bytes"
    " reason before after",
}


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_a_blank_file_gets_the_final_schema(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a")) as db:
        migrate(db, tmp_path / "a")
        for table, columns in SCHEMA.items():
            found = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            assert found == columns.split()
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a")) as db:
        migrate(db, tmp_path / "a")
        db.execute("INSERT INTO embeddings VALUES ('m', x'00', x'00')")
        migrate(db, tmp_path / "a")
        assert db.execute("SELECT count(*) FROM embeddings").fetchone() == (1,)


def test_documents_of_the_first_schema_have_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(connect(tmp_path / "a")) as db:
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "MIGRATIONS", MIGRATIONS[:1])
            migrate(db, tmp_path / "a")
        db.execute("INSERT INTO bases VALUES (1, 'b', 400, 60, 'm', 4, 0)")
        db.execute("INSERT INTO documents VALUES (1, 1, 'd', '', '', 1, '[]', 'x')")
        migrate(db, tmp_path / "a")
        assert db.execute("SELECT name, text, source FROM documents").fetchall() == [
            ("d", "x", b"")
        ]


def test_a_failing_step_leaves_the_old_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (x)")
        raise RuntimeError("power cut")

    with closing(connect(tmp_path / "a")) as db:
        migrate(db, tmp_path / "a")
        monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, broken))
        with pytest.raises(RuntimeError):
            migrate(db, tmp_path / "a")
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        assert "half" not in names
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_newer_file_is_refused_with_advice(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a")) as db:
        migrate(db, tmp_path / "a")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        with pytest.raises(CorruptData, match=r"newer version of rwkv-rag .* upgrade"):
            migrate(db, tmp_path / "a")


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a")) as db:
        db.execute("CREATE TABLE theirs (x)")
        with pytest.raises(CorruptData, match="belongs to another program"):
            migrate(db, tmp_path / "a")
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
