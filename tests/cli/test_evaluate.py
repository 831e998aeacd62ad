"""`eval` prints the report the evaluation makes; `bench` one object of figures."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

from .conftest import Cli

ROWS = [
    {
        "id": "1", "lang": "zh", "source": "t", "title": "",
        "passage": "滤芯的使用寿命约为 12 个月。", "question": "滤芯的使用寿命是多久？",
        "answers": ["12 个月"], "answerable": True,
    },
    {
        "id": "2", "lang": "en", "source": "t", "title": "", "passage": "The fee is 48 pounds.",
        "question": "What is the fee?", "answers": ["48 pounds"], "answerable": True,
    },
    {
        "id": "3", "lang": "en", "source": "t", "title": "", "passage": "The fee is 48 pounds.",
        "question": "Who won the cup?", "answers": [], "answerable": False,
    },
]  # fmt: skip


def write(path: Path) -> Path:
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    path.write_bytes(lzma.compress(text.encode()) if path.suffix == ".xz" else text.encode())
    return path


def test_the_report_has_the_promised_shape(cli: Cli, tmp_path: Path) -> None:
    report = cli("eval", write(tmp_path / "q.jsonl.xz"), "--json").json
    assert report["n"] == 3
    for stage in ("lexical", "dense", "fused", "reranked"):
        assert {"hit@1", "hit@5", "hit@10", "mrr@10"} <= set(report["retrieval"][stage])
    assert report["answers"]["zh"]["citations_valid"] == 1.0
    assert 0 < report["seconds"] < 60
    assert report["retrieval"]["fused"]["hit@1"] == 1.0
    assert {language: each["n"] for language, each in report["answers"].items()} == {
        "zh": 1,
        "en": 1,  # the question without an answer is not asked of the pool
    }


def test_each_source_can_be_a_pool_of_its_own(cli: Cli, tmp_path: Path) -> None:
    """The same question stands over two passages: in one pool one of them hides the other."""
    passage = ROWS[0]["passage"]
    twice = [
        {**ROWS[0], "id": name, "source": name, "passage": f"{passage}{name}"}
        for name in ("one", "two")
    ]
    file = tmp_path / "q.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in twice), encoding="utf-8")
    found = [
        cli("eval", file, "--pool", pool, "--json").json["retrieval"]["lexical"]["hit@1"]
        for pool in ("all", "source")
    ]
    assert found == [0.5, 1.0]


def test_gold_counts_refusals(cli: Cli, tmp_path: Path) -> None:
    report = cli("eval", write(tmp_path / "q.jsonl"), "--mode", "gold", "--json").json
    assert report["answers"]["en"]["refusal_recall"] == 1.0
    assert report["answers"]["en"]["n"] == 2


def test_the_limit_takes_the_first_questions(cli: Cli, tmp_path: Path) -> None:
    assert cli("eval", write(tmp_path / "q.jsonl"), "--limit", "1", "--json").json["n"] == 1


def test_people_get_a_table(cli: Cli, tmp_path: Path) -> None:
    ran = cli("eval", write(tmp_path / "q.jsonl"))
    assert ran.code == 0 and "hit@1" in ran.out


def test_a_file_that_holds_no_questions_is_one_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text("not json\n")
    for file in ("q.jsonl", "missing.jsonl"):
        ran = cli("eval", tmp_path / file)
        assert ran.code == 2 and ran.err.count("\n") == 1
