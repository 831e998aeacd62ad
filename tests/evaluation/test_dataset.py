"""Reading question files, whole and broken."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from rwkv_rag.errors import InputError
from rwkv_rag.evaluation.dataset import MAX_LINE, read

GOOD: dict[str, object] = {
    "id": "1",
    "lang": "zh",
    "source": "made",
    "title": "灯塔",
    "passage": "灯塔建于1875年。",
    "question": "灯塔建于哪年？",
    "answers": ["1875年"],
    "answerable": True,
}


def written(path: Path, *records: object) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_plain_and_compressed_files_give_the_same_rows(tmp_path: Path) -> None:
    plain = written(tmp_path / "q.jsonl", GOOD, "", {**GOOD, "id": "2"})
    packed = tmp_path / "q.jsonl.xz"
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    assert read(plain) == read(packed)
    assert [row.id for row in read(plain)] == ["1", "2"]
    assert read(plain)[0].answers == ("1875年",)


def test_a_limit_reads_no_further(tmp_path: Path) -> None:
    path = written(tmp_path / "q.jsonl", GOOD, "broken")
    assert len(read(path, limit=1)) == 1
    with pytest.raises(InputError, match="limit is 0"):
        read(path, limit=0)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ({**GOOD, "passage": 3}, '"passage" is missing or not a text'),
        ({**GOOD, "question": " "}, '"question" is empty'),
        ({**GOOD, "lang": "fr"}, "'fr'"),
        ({**GOOD, "answers": "1875"}, '"answers"'),
        ({**GOOD, "answers": [1875]}, '"answers"'),
        ({**GOOD, "answers": []}, "answerable"),
        ({**GOOD, "answerable": "yes"}, '"answerable"'),
        ("[" * 100_000, "not JSON"),
        ("x" * (MAX_LINE + 5), "longer than"),
    ],
)
def test_a_bad_row_is_named_by_line_and_reason(tmp_path: Path, bad: object, reason: str) -> None:
    path = written(tmp_path / "q.jsonl", GOOD, bad)
    with pytest.raises(InputError) as caught:
        read(path)
    assert "line 2" in str(caught.value) and reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_question_files_are_refused(tmp_path: Path) -> None:
    empty = written(tmp_path / "empty.jsonl", "")
    cut = tmp_path / "cut.jsonl.xz"
    cut.write_bytes(lzma.compress(json.dumps(GOOD).encode() * 99)[:60])
    false = tmp_path / "false.jsonl.xz"
    false.write_bytes(b"not xz at all")
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    for path in (empty, cut, false, binary, tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(InputError, match=path.name):
            read(path)
