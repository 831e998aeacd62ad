"""Reading a model folder, whole or damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rwkv_rag.encoders.base import MODEL, VOCABULARY, Base
from rwkv_rag.encoders.manifest import MANIFEST
from rwkv_rag.errors import CorruptData, NotFound, RagError


def copied(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to / "model"))


def test_id_changes_with_the_weights(folder: Path, base: Base, tmp_path: Path) -> None:
    other = copied(folder, tmp_path)
    assert Base(other).id == base.id
    data = bytearray((other / MODEL).read_bytes())
    data[-1] ^= 1
    (other / MODEL).write_bytes(data)
    assert Base(other).id != base.id


@pytest.mark.parametrize("name", [MODEL, VOCABULARY, MANIFEST])
def test_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    other = copied(folder, tmp_path)
    (other / name).unlink()
    with pytest.raises(NotFound, match=name):
        Base(other)


@pytest.mark.parametrize("name", [MODEL, VOCABULARY, MANIFEST])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe rubbish"])
def test_damaged_file_is_one_of_our_errors(
    folder: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    other = copied(folder, tmp_path)
    (other / name).write_bytes(content)
    with pytest.raises(RagError):
        Base(other)


def test_vocabulary_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    other = copied(folder, tmp_path)
    with (other / VOCABULARY).open("a", encoding="utf-8") as file:
        file.write("9999 'zebra' 5\n")
    with pytest.raises(CorruptData, match="belong together"):
        Base(other)


def test_missing_head_is_named(base: Base) -> None:
    with pytest.raises(CorruptData, match=r"heads\.sing"):
        base.weight("sing")
