from __future__ import annotations

import os
from pathlib import Path

import pytest

from rwkv_rag.knowledge.sources import find_sources


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def names(*paths: Path) -> list[str]:
    return [source.name for source in find_sources(paths)]


def test_directories_are_walked_in_order_without_hidden_files(tmp_path: Path) -> None:
    write(tmp_path, "b.txt", "a/z.txt", "a/b/c.txt", ".hidden", ".git/config", "a/.x.txt", "中.md")
    assert names(tmp_path) == ["a/b/c.txt", "a/z.txt", "b.txt", "中.md"]


def test_a_file_named_by_hand_is_taken_even_if_hidden_or_missing(tmp_path: Path) -> None:
    write(tmp_path, ".notes.txt")
    assert names(tmp_path / ".notes.txt", tmp_path / "gone.txt") == [".notes.txt", "gone.txt"]


def test_files_of_the_same_name_get_their_parents_as_prefix(tmp_path: Path) -> None:
    write(tmp_path, "x/one/readme.md", "y/one/readme.md", "y/two/readme.md", "y/other.md")
    given = [tmp_path / p for p in ("x/one/readme.md", "y/one/readme.md", "y/two", "y/other.md")]
    assert names(*given) == ["x/one/readme.md", "y/one/readme.md", "two/readme.md", "other.md"]


def test_a_file_given_twice_is_taken_once(tmp_path: Path) -> None:
    write(tmp_path, "a/b.txt")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a" / "b.txt")
    given = (tmp_path / "a" / "b.txt", tmp_path / "a", tmp_path / "a" / ".." / "a", tmp_path)
    assert names(*given) == ["b.txt"]


@pytest.mark.timeout(10)
def test_symlink_loops_end(tmp_path: Path) -> None:
    write(tmp_path, "a/b.txt")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert names(tmp_path) == ["a/b.txt", "self"]


def test_names_that_are_not_utf8_become_printable_and_stay_distinct(tmp_path: Path) -> None:
    for raw in (b"\xff.txt", b"\xfe.txt", b"\xfd.txt", b"a.txt"):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw))).write_text("x")
    found = names(tmp_path)
    assert len(set(found)) == 4 and "a.txt" in found
    assert all(name.encode().decode() == name for name in found)


def test_a_directory_whose_entries_may_not_be_looked_at_ends_no_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.txt", "locked/b.txt")
    look = os.stat

    def refuse(path: Path, **options: bool) -> os.stat_result:
        if os.fspath(path).endswith("b.txt"):
            raise PermissionError(13, "Permission denied", path)  # root may look at everything
        return look(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    assert names(tmp_path) == ["a.txt", "locked/b.txt"]
