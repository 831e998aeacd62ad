"""Files that a client sends: their names, and the folder that goes with them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.knowledge.uploads import Uploads, safe_name


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\文档\\手册.md", "手册.md"),
        ("..", "document.txt"),
        ("", "document.txt"),
        ("a\0\n.txt", "a.txt"),
        (" .hidden. ", "hidden"),
    ],
)
def test_only_the_last_part_of_a_name_is_kept(given_name: str, kept: str) -> None:
    assert safe_name(given_name) == kept


@given(st.text(max_size=400))
def test_any_name_becomes_one_that_a_file_system_takes(given_name: str) -> None:
    name = safe_name(given_name)
    assert name not in ("", ".", "..") and name.isprintable()
    assert not {"/", "\\", "\0"} & {*name} and len(name.encode()) <= 200


def test_the_folder_goes_with_its_files(tmp_path: Path) -> None:
    uploads = Uploads()
    paths = uploads.keep([("a.txt", io.BytesIO(b"1")), ("../a.txt", io.BytesIO(b"2"))])
    assert [path.read_bytes() for path in paths] == [b"1", b"2"]
    folder = paths[0].parent.parent
    uploads.close()
    uploads.close()
    assert not folder.exists()
