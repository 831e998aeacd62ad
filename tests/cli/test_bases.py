"""`kb`: knowledge bases come, show themselves and go, and go only when that is certain."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import Cli, english_left


def test_a_base_lives_from_create_to_delete(cli: Cli) -> None:
    assert cli("kb", "create", "手册", "--chunk-size", "200", "--chunk-overlap", "20").code == 0
    [base] = cli("kb", "list", "--json").json
    assert (base["name"], base["chunk_size"], base["chunk_overlap"]) == ("手册", 200, 20)
    assert cli("kb", "delete", "手册", "--yes").code == 0
    assert cli("kb", "list", "--json").json == []


def test_show_counts_documents_and_passages(indexed: Cli) -> None:
    shown = indexed("kb", "show", "docs", "--json").json
    assert shown["documents"][0]["name"] == "garden.txt"
    assert sum(document["chunks"] for document in shown["documents"]) == shown["chunks"]
    table = indexed("kb", "show", "docs").out
    assert "garden.txt" in table and "手册.md" in table


@pytest.mark.parametrize(("typed", "left"), [("n\n", 1), ("y\n", 0)])
def test_delete_asks_first(
    indexed: Cli, monkeypatch: pytest.MonkeyPatch, typed: str, left: int
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    ran = indexed("kb", "delete", "docs")
    assert "delete docs with its 2 documents?" in ran.err
    assert ran.code == left
    assert len(indexed("kb", "list", "--json").json) == left


def test_delete_without_an_answer_deletes_nothing(
    indexed: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert indexed("kb", "delete", "docs").code == 1
    assert len(indexed("kb", "list", "--json").json) == 1


@pytest.mark.parametrize("action", ["show", "delete"])
def test_an_unknown_base_is_named_beside_those_that_exist(indexed: Cli, action: str) -> None:
    ran = indexed("kb", action, "dogs")
    assert ran.code == 2 and "dogs" in ran.err and "docs" in ran.err


def test_a_base_cannot_be_made_twice(indexed: Cli) -> None:
    ran = indexed("kb", "create", "docs")
    assert ran.code == 2 and ran.err.count("\n") == 1


def test_an_empty_home_says_how_to_begin(cli: Cli) -> None:
    ran = cli("kb", "list")
    assert ran.code == 0 and ran.out == "" and "rwkv-rag index" in ran.err


def test_errors_about_bases_reach_a_chinese_reader_in_chinese(indexed: Cli) -> None:
    wrong = (
        ("kb", "show", "dogs"),
        ("kb", "create", "docs"),
        ("kb", "create", "a/b"),
        ("kb", "create", "x", "--chunk-size", "1"),
        ("kb", "create", "x", "--chunk-overlap", "399"),
        ("ask", "问" * 100_000, "--kb", "docs"),
        ("search", "", "--kb", "docs"),
    )
    for arguments in wrong:
        ran = indexed(*arguments, "--lang", "zh")
        said = ran.err.removeprefix("错误")
        assert ran.code == 2 and any("\u4e00" <= char <= "\u9fff" for char in said), ran.err
        assert english_left(said) == [], ran.err


def damage(home: Path, statement: str) -> None:
    with closing(sqlite3.connect(home / "catalog.sqlite3")) as db, db:
        db.execute(statement)


def test_show_tells_of_damage_and_rebuild_mends_it(indexed: Cli, tmp_path: Path) -> None:
    assert indexed("kb", "show", "docs", "--json").json["problems"] == []
    damage(tmp_path / "home", "DELETE FROM embeddings")
    damage(tmp_path / "home", "DELETE FROM lexical_1")
    shown = indexed("kb", "show", "docs")
    assert shown.code == 0 and "no usable embedding" in shown.err
    assert "missing from the lexical index" in shown.err
    assert "rwkv-rag kb rebuild docs" in shown.err
    chinese = indexed("kb", "show", "docs", "--lang", "zh").err
    assert "没有可用的向量" in chinese and "全文索引缺少" in chinese
    assert len(indexed("kb", "show", "docs", "--json").json["problems"]) == 2
    assert "rebuilt docs" in indexed("kb", "rebuild", "docs").out
    assert indexed("kb", "show", "docs").err == ""


def test_damage_to_the_truth_itself_is_not_called_mended(indexed: Cli, tmp_path: Path) -> None:
    damage(tmp_path / "home", "UPDATE chunks SET text = text || 'x'")
    ran = indexed("kb", "rebuild", "docs")
    assert ran.code == 2 and ran.out == "" and "index your documents again" in ran.err
