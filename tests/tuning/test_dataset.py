"""Files of rows become tokens on the disk in bounded memory, or say in one line why not."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.models import BUILTIN_MODEL
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.tuning import dataset
from rwkv_rag.tuning.binidx import Writer
from rwkv_rag.tuning.dataset import Rows, prepare
from rwkv_rag.tuning.stored import mask_path

ROWS = [
    {"text": "User: a?\n\nAssistant: one"},
    {"messages": [{"role": "user", "content": "b?"}, {"role": "assistant", "content": "two"}]},
    {"question": "整机保修期多久？", "answer": "2 年[1]", "passages": ["整机保修期为 2 年。"]},
]


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(BUILTIN_MODEL / "vocab.txt")


def written(path: Path, rows: list[object]) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


def test_what_was_prepared_is_what_the_rows_say(tmp_path: Path) -> None:
    prepared = prepare(written(tmp_path / "r.jsonl", [*ROWS]), tmp_path / "out", tokenizer())
    rows = Rows.open(prepared.prefix)
    assert (prepared.rows, prepared.tokens) == (3, len(rows.tokens)) and len(rows) == 3
    said = [tokenizer().decode(ids[scored].tolist()) for ids, scored in map(rows.row, range(3))]
    assert said == [" one", " two", " 2 年[1]"]
    assert prepared.scored == sum(int(rows.row(n)[1].sum()) for n in range(3))
    assert prepared.longest == max(len(rows.row(n)[0]) for n in range(3))
    assert prepared.sha256 == rows.sha256 and (prepared.bad, prepared.skipped) == (0, ())


def test_everything_scored_leaves_no_mask(tmp_path: Path) -> None:
    source = written(tmp_path / "r.jsonl", [*ROWS])
    prepare(source, tmp_path / "out", tokenizer())
    prepared = prepare(source, tmp_path / "out", tokenizer(), scored="all")
    assert not mask_path(tmp_path / "out").exists()
    assert prepared.scored == prepared.tokens - prepared.rows


def test_the_hash_tells_other_rows_and_another_mask(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", [*ROWS])
    answers = prepare(source, tmp_path / "1", tokenizer()).sha256
    assert answers == prepare(source, tmp_path / "2", tokenizer()).sha256
    assert answers != Rows.open(tmp_path / "1", scored="all").sha256
    fewer = prepare(written(tmp_path / "b.jsonl", ROWS[:2]), tmp_path / "3", tokenizer())
    assert answers != fewer.sha256


def test_a_bad_line_in_the_middle_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    source = written(tmp_path / "r.jsonl", [ROWS[0], "", "{broken", ROWS[1]])
    with pytest.raises(InputError, match=r"r\.jsonl line 3: it is not JSON"):
        prepare(source, tmp_path / "out", tokenizer())
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


def test_bad_lines_are_skipped_only_when_asked_and_told(tmp_path: Path) -> None:
    source = written(tmp_path / "r.jsonl", [ROWS[0], "{broken", {"text": 7}, ROWS[1]])
    prepared = prepare(source, tmp_path / "out", tokenizer(), skip_bad=True)
    assert (prepared.rows, prepared.bad) == (2, 2)
    assert [number for number, _ in prepared.skipped] == [2, 3]
    assert str(prepared.skipped[1][1]) == '"text" is missing or not a text'


def test_of_many_bad_lines_only_the_first_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "REASONS_KEPT", 3)
    source = written(tmp_path / "r.jsonl", [ROWS[0], *["x"] * 10])
    prepared = prepare(source, tmp_path / "out", tokenizer(), skip_bad=True)
    assert (prepared.bad, len(prepared.skipped)) == (10, 3)


@pytest.mark.parametrize(("rows", "said"), [(["", " "], "holds no row"), (["x"], "only bad lines")])
def test_an_empty_data_set_is_told(tmp_path: Path, rows: list[object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        prepare(written(tmp_path / "r.jsonl", rows), tmp_path / "out", tokenizer(), skip_bad=True)
    assert [path.name for path in tmp_path.iterdir()] == ["r.jsonl"]


def test_a_pair_is_used_where_it_is(tmp_path: Path) -> None:
    with Writer(tmp_path / "given") as writer:
        writer.add(np.array([5, 6, 0]))
        writer.add(np.array([7, 0]))
    prepared = prepare(tmp_path / "given.bin", tmp_path / "other", tokenizer())
    assert prepared.prefix == tmp_path / "given"
    assert (prepared.rows, prepared.tokens, prepared.scored) == (2, 5, 3)
    assert not (tmp_path / "other.bin").exists()
    ids, scored = Rows.open(prepared.prefix).row(0)
    assert ids.tolist() == [5, 6, 0] and scored.tolist() == [False, True, True]


def test_a_prepared_pair_keeps_its_mask_unless_everything_is_wanted(tmp_path: Path) -> None:
    first = prepare(written(tmp_path / "r.jsonl", [*ROWS]), tmp_path / "out", tokenizer())
    again = prepare(tmp_path / "out.bin", tmp_path / "x", tokenizer())
    whole = prepare(tmp_path / "out.bin", tmp_path / "x", tokenizer(), scored="all")
    assert again == first and whole.scored == whole.tokens - whole.rows


def test_ids_the_model_does_not_know_are_told(tmp_path: Path) -> None:
    with Writer(tmp_path / "given") as writer:
        writer.add(np.array([5, 60_000, 0]))
    with pytest.raises(InputError, match="holds the token 60000 and the model knows 16,384"):
        prepare(tmp_path / "given.bin", tmp_path / "x", tokenizer(), vocabulary=16_384)
    source = written(tmp_path / "r.jsonl", [*ROWS])
    with pytest.raises(InputError, match="the model knows 100;"):
        prepare(source, tmp_path / "x", tokenizer(), vocabulary=100)


def test_other_files_missing_files_and_empty_pairs_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no training data"):
        prepare(tmp_path / "r.csv", tmp_path / "x", tokenizer())
    with pytest.raises(NotFound, match=r"r\.jsonl does not exist"):
        prepare(tmp_path / "r.jsonl", tmp_path / "x", tokenizer())
    with pytest.raises(NotFound, match=r"r\.bin is missing"):
        prepare(tmp_path / "r.bin", tmp_path / "x", tokenizer())
    with Writer(tmp_path / "empty"):
        pass
    with pytest.raises(InputError, match="holds no document"):
        prepare(tmp_path / "empty.bin", tmp_path / "x", tokenizer())


def test_a_mask_of_another_length_is_told(tmp_path: Path) -> None:
    prepare(written(tmp_path / "r.jsonl", [*ROWS]), tmp_path / "out", tokenizer())
    mask_path(tmp_path / "out").write_bytes(b"\1")
    with pytest.raises(Exception, match="has 1 bytes for"):
        Rows.open(tmp_path / "out")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = written(tmp_path / "r.jsonl", [*ROWS])
    with pytest.raises(InputError, match="cannot be written"):
        prepare(source, tmp_path / "file" / "out", tokenizer())


def test_a_full_disk_is_told_and_leaves_no_index(tmp_path: Path) -> None:
    """/dev/full refuses every write, as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "out.bin").symlink_to("/dev/full")
    source = written(tmp_path / "r.jsonl", [ROWS[0]] * 3000)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        prepare(source, tmp_path / "out", tokenizer())
    assert not (tmp_path / "out.idx").exists()


GROWTH = """
import resource, sys
from pathlib import Path
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.tuning.dataset import Batches, Rows, prepare

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder, vocabulary = Path(sys.argv[1]), Tokenizer.from_file(sys.argv[2])
prepare(folder / "small.jsonl", folder / "small", vocabulary)
before = peak()
prepare(folder / "large.jsonl", folder / "large", vocabulary)
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """12 MB of rows hold 3 million tokens; a list of them alone would take 100 MB."""
    row = json.dumps({"text": "User: a?\n\nAssistant: " + "the garden opens at six " * 20}) + "\n"
    (tmp_path / "small.jsonl").write_text(row * 10)
    (tmp_path / "large.jsonl").write_text(row * (12_000_000 // len(row)))
    ran = subprocess.run(
        [sys.executable, "-c", GROWTH, tmp_path, BUILTIN_MODEL / "vocab.txt"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(ran.stdout) < 40_000, f"grew by {ran.stdout} KiB"
