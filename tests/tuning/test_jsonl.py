"""Files of rows are read line by line, whatever their ends, and damage is told by its line."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.tuning import jsonl
from rwkv_rag.tuning.jsonl import Line, read

ROWS = b'\xef\xbb\xbf{"text": "\xe4\xb8\x80"}\r\n\r\n   \n{"text": "b"}'


def packed(path: Path, content: bytes) -> Path:
    pack = {".xz": lzma.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(content))
    return path


@pytest.mark.parametrize("ending", jsonl.SUFFIXES)
def test_marks_line_ends_and_blank_lines_do_not_matter_but_count(
    tmp_path: Path, ending: str
) -> None:
    file = packed(tmp_path / f"rows{ending}", ROWS)
    assert list(read(file)) == [Line(1, {"text": "一"}), Line(4, {"text": "b"})]


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.lists(VALUES))
@settings(max_examples=50, deadline=None)
def test_every_value_comes_back_under_its_number(values: list[Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        file.write_bytes(b"".join(json.dumps(value).encode() + b"\n" for value in values))
        assert [(line.number, line.value) for line in read(file)] == list(enumerate(values, 1))


def test_a_bad_line_does_not_hide_the_lines_after_it(tmp_path: Path) -> None:
    lines = [b'{"a": 1}', b'{"a": ', b"\xff\xfe", b"[" * 100_000, b'{"a": 2}']
    found = list(read(packed(tmp_path / "rows.jsonl", b"\n".join(lines))))
    assert [line.value for line in found if not line.problem] == [{"a": 1}, {"a": 2}]
    assert [line.number for line in found if line.problem] == [2, 3, 4]
    assert "UTF-8" in str(found[2].problem) and "JSON" in str(found[1].problem)


def test_a_line_over_the_limit_is_skipped_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 1 << 20)
    long = b'{"text": "' + b"a" * (3 << 20) + b'"}'
    file = packed(tmp_path / "rows.jsonl.xz", long + b'\n{"text": "b"}\n')
    first, second = read(file)
    assert str(first.problem) == "it is longer than 1 MiB"
    assert second == Line(2, {"text": "b"})


@pytest.mark.parametrize("ending", [".jsonl.xz", ".jsonl.gz"])
def test_an_archive_that_was_cut_short_names_the_line_it_breaks_at(
    tmp_path: Path, ending: str
) -> None:
    import random

    letters = random.Random(0)
    rows = [json.dumps({"text": f"{letters.random()}"}) for _ in range(5000)]
    file = packed(tmp_path / f"rows{ending}", "\n".join(rows).encode())
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=r"line \d+: the archive is damaged or cut short"):
        list(read(file))


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    for ending in (".jsonl.xz", ".jsonl.gz"):
        file = tmp_path / f"rows{ending}"
        file.write_bytes(b'{"text": "plain"}')
        with pytest.raises(InputError, match="line 1: the archive"):
            list(read(file))


def test_a_missing_file_and_a_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        list(read(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="cannot be read"):
        list(read(tmp_path))


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    file = packed(tmp_path / "rows.jsonl", b'{"text": "0123456789"}\n' * 200_000)
    told: list[tuple[int, int]] = []
    for _ in read(file, progress=lambda done, total: told.append((done, total))):
        pass
    size = file.stat().st_size
    assert told[-1] == (size, size)
    assert [done for done, _ in told] == sorted(done for done, _ in told) and len(told) > 3
