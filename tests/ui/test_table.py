"""Rows go into the table and back: nothing that was not edited changes, nothing is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.errors import InputError

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)

from rwkv_rag.ui import table  # isort: skip

words = st.text(alphabet="ab 问答.:?\n", max_size=30)
said = st.text(alphabet="ab 问答.?", min_size=1, max_size=20)
turns = st.lists(st.tuples(said, said), min_size=1, max_size=3)


def as_text(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    return {"text": "\n\n".join(f"User: {q}\n\nAssistant: {a}" for q, a in pairs)}


def as_messages(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    roles = [(r, c) for q, a in pairs for r, c in (("user", q), ("assistant", a))]
    return {"messages": [{"role": role, "content": content} for role, content in roles]}


def as_question(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    question, answer = pairs[0]
    return {"question": question, "answer": answer, "passages": ["p"], "kind": "answer"}


records = st.one_of(
    st.builds(as_text, turns),
    st.builds(as_messages, turns),
    st.builds(as_question, turns),
    st.builds(lambda text: {"text": text}, words),
)


def edit(record: dict[str, Any], **cells: str) -> dict[str, Any]:
    line = {**table.line(0, record), **cells}
    return table.records([line], [record])[0]


@given(st.lists(records, max_size=5))
def test_rows_nobody_edited_come_back_as_they_were(rows: list[dict[str, Any]]) -> None:
    lines = [table.line(number, row) for number, row in enumerate(rows)]
    assert table.records(lines, rows) == rows


@given(records, said, said)
def test_an_edited_row_shows_what_was_typed(
    row: dict[str, Any], question: str, answer: str
) -> None:
    assert table.shown(edit(row, question=question, answer=answer)) == (question, answer)


@given(turns, said)
def test_editing_an_answer_leaves_the_earlier_turns(
    pairs: list[tuple[str, str]], answer: str
) -> None:
    expected = [*pairs[:-1], (pairs[-1][0], answer)]
    assert edit(as_messages(pairs), answer=answer) == as_messages(expected)
    assert edit(as_text(pairs), answer=answer) == as_text(expected)


def test_passages_stay_with_an_edited_row() -> None:
    row = {"question": "q", "answer": "a", "passages": ["p"], "source": {"document": "d.md"}}
    assert edit(row, answer="b") == {**row, "answer": "b"}
    assert table.line(0, row)["source"] == "d.md"


def test_lines_are_added_and_deleted() -> None:
    rows = [{"question": "a", "answer": "1"}, {"question": "b", "answer": "2"}]
    added = {"row": None, "question": "c", "answer": "3", "kind": None, "source": None}
    blank = {"row": None, "question": None, "answer": " "}
    made = table.records([table.line(1, rows[1]), added, blank], rows)
    assert made == [rows[1], {"question": "c", "answer": "3", "kind": "own"}]


@pytest.mark.parametrize(
    ("cells", "lacks"), [({"question": "c"}, "answer"), ({"answer": "c"}, "question")]
)
def test_half_a_row_is_not_taken(cells: dict[str, str], lacks: str) -> None:
    with pytest.raises(InputError, match=f"'c' has no {lacks}"):
        table.records([{"row": float("nan"), **cells}], [])


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "rows" / "a.jsonl"
    assert table.write(path, [{"question": "问", "answer": "b"}]) == 1
    before = path.read_bytes()
    assert json.loads(before) == {"question": "问", "answer": "b"}

    def broken() -> Any:
        yield {"question": "c", "answer": "d"}
        raise InputError("cannot go on")

    with pytest.raises(InputError):
        table.write(path, broken())
    assert path.read_bytes() == before and os.listdir(path.parent) == ["a.jsonl"]


def test_a_full_disk_is_told_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        table.write(path, [{"text": "new"}])
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.jsonl"]
