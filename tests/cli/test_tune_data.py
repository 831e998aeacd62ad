"""`tune data` turns rows into tokens and says what they are; `tune rows` makes rows to edit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rwkv_rag.tuning.binidx import BinIdx

from .conftest import GARDEN, MANUAL, Cli, english_left

ROWS = [
    {"text": "User: a?\n\nAssistant: one"},
    {"question": "What is the fee?", "answer": "48 pounds[1]", "passages": ["48 pounds."]},
]


def written(path: Path, *lines: object) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_become_a_pair_and_the_figures_are_told(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "r.jsonl", *ROWS * 40)
    told = cli("tune", "data", file, tmp_path / "out", "--context", "8", "--json").json
    pair = BinIdx.open(tmp_path / "out")
    assert (told["rows"], told["tokens"]) == (80, len(pair.tokens)) and len(pair) == 80
    assert told["my_exit_tokens"] == told["tokens"] > told["scored"] > 80
    assert told["magic_prime"] % 3 == 2 and told["magic_prime"] < told["tokens"] / 8 - 1
    ran = cli("tune", "data", tmp_path / "out.bin", "--context", "8")
    assert f"--my_exit_tokens {told['tokens']} --magic_prime {told['magic_prime']}" in ran.out


def test_a_bad_line_ends_it_and_skipping_it_is_told(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "r.jsonl", ROWS[0], "{broken", ROWS[1])
    ran = cli("tune", "data", file, tmp_path / "out")
    assert ran.code == 2 and "r.jsonl line 2: it is not JSON" in ran.err
    assert ran.err.count("\n") == 1 and not (tmp_path / "out.bin").exists()
    ran = cli("tune", "data", file, tmp_path / "out", "--skip-bad")
    assert ran.code == 0 and "line 2 skipped" in ran.err and "2 rows" in ran.out


def test_nothing_is_overwritten(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "r.jsonl", *ROWS)
    assert cli("tune", "data", file, tmp_path / "out").code == 0
    before = (tmp_path / "out.bin").read_bytes()
    ran = cli("tune", "data", written(tmp_path / "s.jsonl", ROWS[0]), tmp_path / "out.bin")
    assert ran.code == 2 and "out.bin exists already" in ran.err
    assert (tmp_path / "out.bin").read_bytes() == before


def test_a_name_is_needed_for_rows_but_not_for_a_pair(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path / "r.jsonl", *ROWS)
    assert "give OUT" in cli("tune", "data", file).err
    cli("tune", "data", file, tmp_path / "out", "--scored", "all")
    (tmp_path / "out.idx").unlink()
    ran = cli("tune", "data", tmp_path / "out.bin")
    assert ran.code == 2 and "out.idx is missing" in ran.err


def test_rows_are_made_from_a_base_and_can_be_prepared(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "garden.txt").write_text(GARDEN)
    (tmp_path / "手册.md").write_text(MANUAL, encoding="utf-8")
    cli("index", tmp_path / "garden.txt", tmp_path / "手册.md", "--kb", "docs")
    out = tmp_path / "made" / "rows.jsonl"
    ran = cli("tune", "rows", "docs", out, "--rows", "5")
    assert ran.code == 0 and "by rule" in ran.err
    made = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert f"{len(made)} rows in" in ran.out and 3 <= len(made) <= 5
    assert cli("tune", "data", out, tmp_path / "out", "--json").json["rows"] == len(made)
    assert "exists already" in cli("tune", "rows", "docs", out).err


def test_a_base_that_makes_nothing_leaves_no_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Nothing here")
    cli("index", tmp_path / "a.txt", "--kb", "docs")
    ran = cli("tune", "rows", "docs", tmp_path / "rows.jsonl")
    assert ran.code == 2 and "makes a question" in ran.err
    assert cli("tune", "rows", "none", tmp_path / "rows.jsonl").code == 2
    assert not (tmp_path / "rows.jsonl").exists()


@pytest.mark.parametrize("bad", ["{", '{"text": 1}', '{"question": "a", "answer": ""}', ""])
def test_a_chinese_reader_is_told_in_chinese(cli: Cli, tmp_path: Path, bad: str) -> None:
    ran = cli("--lang", "zh", "tune", "data", written(tmp_path / "r.jsonl", bad), tmp_path / "out")
    assert ran.code == 2 and not english_left(ran.err.replace(str(tmp_path), ""))


def test_the_help_of_the_commands_loads_no_model() -> None:
    assert "rwkv_rag.tuning.dataset" not in vars(sys.modules["rwkv_rag.cli.tune_data"]).values()
