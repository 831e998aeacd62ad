"""A made-up data folder in miniature, what prepare.py makes of it, and a recipe of seconds."""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

# The scripts import one another by plain name, as they do when they are run; they are no package.
sys.path.insert(0, str(Path(__file__).parents[2] / "training"))

import prepare
from recipe import Phase, Recipe

from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.tuning.network import NetworkShape

Record = dict[str, Any]
TASKS = ("language", "cloze", "read", "pairs")
CHINESE = [a + b for a in "青白临望乌金" for b in "石溪桥港山"]
ENGLISH = [a + b for a in ("Ash", "Oak", "Elm", "Fen", "Holm") for b in ("ford", "mere", "wick")]


TINY = Recipe(
    NetworkShape(layers=2, width=64, vocab=400, rank_w=8, rank_a=8, rank_v=8, rank_g=8),
    steps=12,
    phases=(Phase(12, dict.fromkeys(TASKS, 1 / len(TASKS)), reading=(4, 48)),),
    word_steps=4,
    word_batch=(8, 16, 32),
    language_batch=(4, 64),
    pair_batch=(4, 16, 32),
    vector=96,
    meaning=32,
    source_weights={"towns": 0.5},
)


def call(script: Any, *arguments: object) -> None:
    """Run a script's main as the command line would, with the recipe in miniature."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script.__name__, *map(str, arguments)])
        if hasattr(script, "load"):
            patch.setattr(script, "load", lambda size: TINY)
        if script.__name__ == "train":  # what calibrating does is a test of its own
            patch.setattr(script, "calibrate", lambda dev, out: (out / "by").write_text(str(dev)))
        script.main()


def byte_tokenizer() -> Tokenizer:
    return Tokenizer([b"", *(bytes([b]) for b in range(256))])


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    questions = list(made_up_questions())
    texts = [{"text": q["passage"], "source": "made/up", "lang": q["lang"]} for q in questions]
    for language in ("zh", "en"):
        own = [text for text in texts if text["lang"] == language]
        write(folder / f"text/{language}-00.jsonl.xz", own)
    write(folder / "qa/train.jsonl.xz", questions)
    write(folder / "qa/dev.jsonl.xz", questions)
    pairs = [
        {"query": q["question"], "positive": q["passage"], "source": f"qa:{q['lang']}"}
        for q in questions
        if q["answerable"]
    ]
    write(folder / "pairs/train.jsonl.xz", pairs)
    return folder


@pytest.fixture(scope="session")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    call(prepare, data, folder, "--vocab-size", TINY.shape.vocab)
    return folder


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """The scripts set how many threads torch uses; the other tests want theirs back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def made_up_questions() -> Iterator[Record]:
    """Two questions about each town, the second of every third against another town's passage."""
    for number, town in enumerate(CHINESE):
        other = CHINESE[number - 7]
        passage = about_zh(number, town)
        yield row("zh", town, passage, f"{town}有多少座桥？", [f"{3 + number}座"])
        if number % 3:
            yield row("zh", town, passage, f"{town}是哪一年建城的？", [f"{1000 + number}年"])
        else:
            yield row("zh", town, passage, f"{other}是哪一年建城的？", [])
    for number, town in enumerate(ENGLISH):
        passage = about_en(number, town)
        yield row("en", town, passage, f"How many bridges does {town} have?", [f"{3 + number}"])
        yield row("en", town, passage, f"Who founded {town}?", [f"Count Bero {number} of Lund"])


def about_zh(number: int, town: str) -> str:
    return (
        f"{town}位于大河东岸，{1000 + number}年由商人建城。城里一共有{3 + number}座桥，多是石桥。"
        "居民多以捕鱼和种茶为生，每年秋天在河边举行灯会。"
    )


def about_en(number: int, town: str) -> str:
    return (
        f"{town} was founded by Count Bero {number} of Lund in the year {1200 + number}. "
        f"There are {3 + number} bridges across the river and a market every second week. "
        "Most of the people who live there are fishermen, weavers and millers. "
    )


def row(language: str, title: str, passage: str, question: str, answers: list[str]) -> Record:
    return {
        "id": f"{language}-{question}",
        "lang": language,
        "source": "towns",
        "title": title,
        "passage": passage,
        "question": question,
        "answers": answers,
        "answerable": bool(answers),
    }


def write(path: Path, records: Iterable[Record]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
