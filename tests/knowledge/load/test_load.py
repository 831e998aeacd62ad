"""Dispatch of `load`: which reader, which limits, which reasons."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rwkv_rag.errors import InputError, UnreadableDocument
from rwkv_rag.knowledge import load as loading
from rwkv_rag.knowledge.load import SUPPORTED, load


def test_the_hash_is_of_the_bytes_and_the_name_is_the_given_one(tmp_path: Path) -> None:
    path = tmp_path / "a.TXT"
    path.write_bytes("质保\r\n两年".encode("gbk"))
    document = load(path, name="sub/a.TXT")
    assert (document.name, document.text) == ("sub/a.TXT", "质保\n两年")
    assert document.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["a.pdf", "a.txt", "a"])
def test_a_pdf_is_recognised_by_its_first_bytes(
    tmp_path: Path, make_pdf: Callable[..., bytes], name: str
) -> None:
    (tmp_path / name).write_bytes(make_pdf(["Hello."]))
    document = load(tmp_path / name, name=name)
    assert (document.text, document.media_type) == ("Hello.", "application/pdf")


def test_an_unknown_type_is_refused_with_the_list_of_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_bytes(b"text")
    with pytest.raises(UnreadableDocument) as caught:
        load(tmp_path / "a.xyz", name="a.xyz")
    assert ".xyz" in str(caught.value)
    assert all(suffix in str(caught.value) for suffix in SUPPORTED)


@pytest.mark.parametrize(("data", "reason"), [(b"", "is empty"), (b" \n\t", "only white space")])
def test_a_file_without_text_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(UnreadableDocument, match=reason):
        load(tmp_path / "a.txt", name="a.txt")


def test_missing_files_and_directories_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.txt does not exist"):
        load(tmp_path / "nothing.txt", name="x")
    with pytest.raises(InputError, match="is a directory"):
        load(tmp_path, name="x")


def test_files_beyond_the_limits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("x" * 300)
    monkeypatch.setattr(loading, "MAX_CHARACTERS", 299)
    with pytest.raises(UnreadableDocument, match="300 characters; the limit is 299"):
        load(tmp_path / "a.txt", name="a.txt")
    monkeypatch.setattr(loading, "MAX_BYTES", 299)
    with pytest.raises(UnreadableDocument, match="the limit is 0 MiB"):
        load(tmp_path / "a.txt", name="a.txt")


@pytest.mark.timeout(10)
def test_what_never_ends_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    for name in ("pipe.txt", "zero.txt"):
        with pytest.raises(UnreadableDocument, match=f"{name} is not a regular file"):
            load(tmp_path / name, name=name)


def test_a_file_longer_than_it_claims_is_read_to_the_limit_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("x" * 300)
    monkeypatch.setattr(loading, "_require_file", lambda path: None)
    monkeypatch.setattr(loading, "MAX_BYTES", 299)
    claimed = os.stat_result((0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", lambda self, **_: claimed)
        with pytest.raises(UnreadableDocument, match="the limit is 0 MiB"):
            load(tmp_path / "a.txt", name="a.txt")


def test_a_directory_that_may_not_be_listed_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)  # root may list everything
    with pytest.raises(UnreadableDocument, match="cannot be read: Permission denied"):
        load(tmp_path, name="x")
