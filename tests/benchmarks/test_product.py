"""`benchmarks/product.py`: it measures what it says, on the stand-ins in seconds."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rwkv_rag.config import Settings
from rwkv_rag.errors import AlreadyExists, RagError
from rwkv_rag.testing import MemoryKnowledge, text_document
from rwkv_rag.types import Answer, Chunk, Delta, Hit

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HITS = tuple(Hit(Chunk(str(n), "a.txt", n, 0, 1, "字"), 1.0) for n in range(5))


@pytest.fixture
def product(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("product")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in its own process, with everything it may touch below `folder`."""
    (folder / "tmp").mkdir()
    environ = {**os.environ, "RWKV_RAG_HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    line = [sys.executable, str(BENCHMARKS / "product.py"), "--repeats", "1", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environ, check=False)


class Scripted:
    """A pipeline that replays the same events for every question."""

    def __init__(self, *events: Delta | Answer | float) -> None:
        self._events = events
        self.asked: list[tuple[str, list[str]]] = []

    def answer(self, question: str, **options: Any) -> Iterator[Delta | Answer]:
        self.asked.append((question, [turn.question for turn in options["history"]]))
        for event in self._events:
            if isinstance(event, float):
                time.sleep(event)
            else:
                yield event


def answer(*stages: str, hits: tuple[Hit, ...] = HITS) -> Answer:
    return Answer("字", refused=False, hits=hits, timings=dict.fromkeys(stages, 0.1))


def test_it_measures_everything_on_the_stand_ins_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ran = run(tmp_path, "--model", "fake", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    goals = {name: figure["goal"] for name, figure in report["figures"].items()}
    assert goals == {
        "tokenizer_mb_per_s": 3,
        "indexing_chunks_per_s": 20,
        "search_s": None,
        "first_piece_s": 2,
        "answer_s": None,
        "help_s": 0.5,
        "ask_s": None,
    }
    assert all(figure["measured"] > 0 for figure in report["figures"].values())
    assert report["figures"]["first_piece_s"]["what"].endswith("(read)")
    assert {"cpu", "cores", "python", "torch", "load"} <= set(report["machine"])
    assert report["model"] == "fake"
    assert list((tmp_path / "tmp").glob("rwkv-rag*")) == []
    assert not (tmp_path / "home").exists()


def test_a_model_that_is_none_is_one_line_at_once_and_exit_code_2(tmp_path: Path) -> None:
    ran = run(tmp_path, "--model", str(tmp_path / "none.pth"))
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1
    assert ran.stdout == ""


def test_a_goal_is_a_floor_or_a_ceiling(product: ModuleType) -> None:
    def met(measured: float, **options: Any) -> bool | None:
        return product.Figure("it", "s", measured, **options).met

    assert [met(measured, goal=2) for measured in (1, 2, 3)] == [False, True, True]
    assert [met(measured, goal=2, at_most=True) for measured in (1, 2, 3)] == [True, True, False]
    assert met(1) is None


def test_a_missed_goal_is_shown_and_is_no_failure(
    product: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"slow": product.at_most(2, "slow thing", [9.0, 1.0, 4.0])}
    monkeypatch.setattr(product, "measure", lambda settings, repeats: figures)
    monkeypatch.setattr(sys, "argv", ["product.py", "--model", "fake"])
    product.main()
    assert "| slow thing | 4 s | ≤ 2 s | no |" in capsys.readouterr().out


def test_indexing_is_never_timed_in_a_home_that_holds_the_vectors(
    product: ModuleType, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", model="fake")
    assert product.indexing_rate(settings) > 0
    with pytest.raises(AlreadyExists):
        product.indexing_rate(settings)


def test_the_first_piece_is_the_first_text_and_not_the_first_event(product: ModuleType) -> None:
    pipeline = Scripted(Delta(""), 0.05, Delta("字"), 0.05, answer("search", "read", "cite"))
    asked = product.ask(pipeline, "问", [])
    assert asked.first_s > 0.04
    assert asked.whole_s - asked.first_s > 0.04
    assert asked.way == "read"


def test_the_first_time_does_not_count(product: ModuleType) -> None:
    naps = iter([0.5, 0.0])
    assert product.repeated(lambda: time.sleep(next(naps)), 1) < 0.4


def test_answers_that_read_fewer_passages_do_not_count(product: ModuleType) -> None:
    whole = Scripted(Delta("字"), answer("search", "read", "cite"))
    assert len(product.answers(whole, 2)) == 2 * len(product.QUESTIONS)
    refused = answer("search", "total")
    few = answer("search", "read", "cite", hits=HITS[:4])
    for other in (refused, few):
        with pytest.raises(RagError, match="5 passages"):
            product.answers(Scripted(Delta("字"), other), 1)


def test_a_follow_up_and_nothing_else_comes_with_the_turn_before(product: ModuleType) -> None:
    pipeline = Scripted(Delta("字"), answer("search", "read", "cite"))
    product.conversation(pipeline)
    for before, (question, history) in zip(product.QUESTIONS, pipeline.asked[1:], strict=False):
        assert history == ([before] if question in product.FOLLOW_UPS else [])
    assert pipeline.asked[0][1] == []


def test_the_tokenizer_gets_chinese_text_and_enough_of_it(product: ModuleType) -> None:
    library = MemoryKnowledge()
    library.create(product.KB)
    list(library.add(product.KB, [text_document("a", "中文。"), text_document("b", "English.")]))
    text = product.chinese(library)
    assert len(text.encode()) >= product.TEXT_BYTES
    assert set(text) == set("中文。")
