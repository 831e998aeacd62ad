"""`kb`: knowledge bases come, show themselves and go, and go only when that is certain."""

from __future__ import annotations

import io

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
