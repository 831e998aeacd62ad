"""`index` reads what it can, says why it skips the rest, and never leaves half a thing behind."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from rwkv_rag.cli import index
from rwkv_rag.errors import Busy, RagError

from .conftest import Cli, english_left


def test_a_directory_is_read_into_a_new_base(cli: Cli, documents: Path) -> None:
    ran = cli("index", documents, "--kb", "docs")
    assert ran.code == 0 and "2 indexed" in ran.out
    names = [document["name"] for document in cli("kb", "show", "docs", "--json").json["documents"]]
    assert names == ["garden.txt", "手册.md"]


def test_indexing_again_changes_nothing_and_is_no_error(cli: Cli, documents: Path) -> None:
    cli("index", documents, "--kb", "docs")
    before = cli("kb", "show", "docs", "--json").json
    ran = cli("index", documents, "--kb", "docs")
    assert ran.code == 0 and "2 unchanged" in ran.out
    assert cli("kb", "show", "docs", "--json").json == before


def test_what_cannot_be_read_is_skipped_with_its_reason(cli: Cli, documents: Path) -> None:
    (documents / "empty.txt").write_bytes(b"")
    (documents / "picture.txt").write_bytes(bytes(range(256)) * 8)
    ran = cli("index", documents, "--kb", "docs")
    assert ran.code == 0 and "2 indexed" in ran.out and "2 skipped" in ran.out
    assert "empty.txt" in ran.err and "picture.txt" in ran.err


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.txt", b""), ("noise.txt", bytes(range(256)) * 8), ("bad.pdf", b"%PDF-1.7 broken")],
)
def test_one_unreadable_file_is_one_line_and_exit_code_2(
    cli: Cli, tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    ran = cli("index", tmp_path / name, "--kb", "docs")
    assert ran.code == 2 and ran.out == ""
    assert name in ran.err and ran.err.count("\n") == 1
    assert cli("kb", "list", "--json").json == []  # no empty base is left behind


def test_a_missing_file_is_an_error_before_anything_is_made(cli: Cli, tmp_path: Path) -> None:
    ran = cli("index", tmp_path / "nothing.txt", "--kb", "docs")
    assert ran.code == 2 and "nothing.txt does not exist" in ran.err
    assert cli("kb", "list", "--json").json == []


@pytest.mark.parametrize("name", ["x" * 300, "loop/a.txt"])
def test_a_path_that_cannot_even_be_looked_at_is_one_line(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    ran = cli("index", tmp_path / name, "--kb", "docs")
    assert ran.code == 2 and "cannot be read: " in ran.err and ran.err.count("\n") == 1


def test_a_directory_that_may_not_be_entered_is_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Path.stat

    def denied(path: Path, **options: bool) -> os.stat_result:
        if "locked" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return looked(path, **options)

    monkeypatch.setattr(Path, "stat", denied)
    ran = cli("index", tmp_path / "locked" / "a.txt", "--lang", "zh")
    assert ran.code == 2 and "a.txt 无法读取：没有权限" in ran.err and ran.err.count("\n") == 1


def test_no_chunk_size_is_a_chunk_size_too(indexed: Cli, documents: Path) -> None:
    ran = indexed("index", documents, "--kb", "docs", "--chunk-size", "0")
    assert ran.code == 2 and "chunk size 60" in ran.err


def test_a_name_with_control_characters_does_not_reach_the_terminal(
    cli: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "a\x1b[31m\a.txt").write_text("The gate is open.")
    (folder / "b\x1b[2J.txt").write_bytes(b"")
    ran = cli("index", folder, "--kb", "docs")
    shown = cli("kb", "show", "docs")
    missing = cli("index", folder / "c\x1b]0;.txt")
    assert ran.code == shown.code == 0 and missing.code == 2
    said = ran.out + ran.err + shown.out + missing.err
    assert "\x1b" not in said and "\a" not in said and "a[31m.txt" in shown.out
    assert "b[2J.txt" in ran.err


def test_an_empty_directory_says_what_can_be_read(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    ran = cli("index", tmp_path / "empty", "--kb", "docs")
    assert ran.code == 2 and ".pdf" in ran.err and ran.err.count("\n") == 1


def test_a_failed_indexing_keeps_the_base_that_was_there(indexed: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    assert indexed("index", tmp_path / "empty.txt", "--kb", "docs").code == 2
    assert indexed("kb", "show", "docs", "--json").json["documents"]


def test_other_chunk_sizes_than_the_base_has_are_refused(indexed: Cli, documents: Path) -> None:
    ran = indexed("index", documents, "--kb", "docs", "--chunk-size", "500")
    assert ran.code == 2 and "chunk size 60" in ran.err
    assert indexed("index", documents, "--kb", "docs", "--chunk-size", "60").code == 0


@pytest.mark.parametrize("name", ["", "a/b", "../up", "-x", "x" * 65])
def test_an_invalid_name_is_refused(cli: Cli, documents: Path, name: str) -> None:
    ran = cli("index", documents, f"--kb={name}")
    assert ran.code == 2 and ran.err.count("\n") == 1


def test_impossible_sizes_are_refused(cli: Cli, documents: Path) -> None:
    ran = cli("index", documents, "--kb", "docs", "--chunk-size", "50", "--chunk-overlap", "50")
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert cli("kb", "list", "--json").json == []


@pytest.mark.parametrize("busy", [3, 10**6])
def test_an_empty_base_goes_also_where_the_service_is_still_busy_with_it(
    busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who broke off an indexing is soon let in; who never is does not wait for ever."""
    left = [busy]

    class Library:
        def base(self, name: str) -> SimpleNamespace:
            return SimpleNamespace(documents=0)

        def delete(self, name: str) -> None:
            if left[0]:
                left[0] -= 1
                raise Busy("another indexing is at work")
            left.append(0)

    monkeypatch.setattr(index, "DELETE_WITHIN_S", 0.5)
    index._drop_if_empty(Library(), "docs")  # type: ignore[arg-type]
    assert (left == [0, 0]) == (busy == 3)


def test_reasons_reach_a_chinese_reader_in_chinese(cli: Cli, tmp_path: Path) -> None:
    faulty = {"empty.txt": b"", "noise.txt": bytes(range(256)) * 8, "bad.pdf": b"%PDF-1.7 broken"}
    faulty |= {"blank.md": b" \n", "table.xlsx": b"PK", "gone.txt": b""}
    for name, content in faulty.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "gone.txt").unlink()
    for name in faulty:
        ran = cli("index", tmp_path / name, "--kb", "docs", "--lang", "zh")
        said = ran.err.removeprefix("错误").removeprefix("跳过")
        assert ran.code == 2 and any("\u4e00" <= char <= "\u9fff" for char in said), ran.err
        assert english_left(said) == [], ran.err


def empty_bases(cli: Cli) -> list[str]:
    return [base["name"] for base in cli("kb", "list", "--json").json if not base["documents"]]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RagError("no power")])
@pytest.mark.parametrize("place", ["embed", "show"])
def test_a_first_indexing_that_breaks_off_leaves_no_empty_base(
    cli: Cli,
    documents: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    fault: BaseException,
) -> None:
    if "RWKV_RAG_CONNECT" in os.environ and (place, type(fault)) == ("embed", KeyboardInterrupt):
        pytest.skip("Ctrl-C reaches the command and not the service")

    def broken(*_: object) -> None:
        raise fault

    target = {
        "embed": "rwkv_rag.testing.HashEmbedder.embed_documents",
        "show": "rwkv_rag.cli.screen.ProgressLine.show",
    }[place]
    with monkeypatch.context() as patched:
        patched.setattr(target, broken)
        assert cli("index", documents, "--kb", "docs").code != 0
    if "RWKV_RAG_CONNECT" in os.environ and place == "show":
        # The service works ahead of what is shown: it may have indexed before it was ended.
        assert empty_bases(cli) == []
    else:
        assert cli("kb", "list", "--json").json == []
    assert cli("index", documents, "--kb", "docs").code == 0
    with monkeypatch.context() as patched:
        patched.setattr("rwkv_rag.cli.screen.ProgressLine.show", broken)
        cli("index", documents, "--kb", "docs")
    assert len(cli("kb", "show", "docs", "--json").json["documents"]) == 2
