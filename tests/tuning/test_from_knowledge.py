"""Rows from a knowledge base say nothing that is not in it, and are the same every time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.models import BUILTIN_MODEL, PACKAGE
from rwkv_rag.rag.answering import REFUSAL
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.testing import MemoryKnowledge, text_document
from rwkv_rag.tuning.from_knowledge import Row, RowEvent, build
from rwkv_rag.tuning.rows import RowEncoder
from rwkv_rag.types import Delta, Sampling

DOCUMENTS = PACKAGE / "demo" / "documents"
TEXTS = {
    name: (DOCUMENTS / name).read_text(encoding="utf-8")
    for name in ("harbour-street-garden-handbook.txt", "云雀L3空气净化器使用手册.md")
}


def base(texts: dict[str, str], size: int = 300) -> Knowledge:
    knowledge = MemoryKnowledge()
    knowledge.create("kb", chunk_size=size, chunk_overlap=60)
    for _ in knowledge.add("kb", [text_document(name, text) for name, text in texts.items()]):
        pass
    return knowledge


@cache
def demo() -> Knowledge:
    return base(TEXTS)


def rows(knowledge: Knowledge, **wishes: object) -> list[Row]:
    events = build(knowledge, "kb", **wishes)  # type: ignore[arg-type]
    return [each.row for each in events if each.row]


def check(row: Row, texts: dict[str, str]) -> None:
    """Everything a row claims, compared with the documents."""
    source = row["source"]
    sentence = texts[source["document"]][source["start"] : source["end"]]
    for passage in row["passages"]:
        assert texts[passage["document"]][passage["start"] : passage["end"]] == passage["text"]
    if row["kind"] == "refusal":
        assert row["answer"] in REFUSAL.values()
        assert all(sentence not in passage["text"] for passage in row["passages"])
        return
    answer, mark = row["answer"].rsplit("[", 1)
    assert answer.strip() == sentence
    assert sentence in row["passages"][int(mark.rstrip("]")) - 1]["text"]


def test_every_answer_stands_in_the_passage_it_names() -> None:
    made = rows(demo(), rows=60, refusals=0.25)
    for row in made:
        check(row, TEXTS)
    assert {row["kind"] for row in made} == {"answer", "refusal"}
    assert {row["source"]["document"] for row in made} == set(TEXTS)


SENTENCES = st.sampled_from(
    [
        "保修期为 2 年。", "滤芯的使用寿命约为 12 个月。", "The fee is 48 pounds.", "x", "\n\n",
        "Dogs must be kept on a lead.", "他去了。", "# 标题\n", "- E1：传感器故障。", "“未完",
        "用过的滤芯不可水洗。", "The gate was built in 1987 by men.\n",
    ]
)  # fmt: skip


@given(st.lists(SENTENCES, min_size=1, max_size=25), st.integers(20, 120), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_nothing_is_invented_whatever_the_documents(parts: list[str], size: int, seed: int) -> None:
    texts = {"a.md": "".join(parts), "b.md": " ".join(reversed(parts)) + "."}
    knowledge = MemoryKnowledge()
    knowledge.create("kb", chunk_size=size, chunk_overlap=size // 3)
    for _ in knowledge.add("kb", [text_document(name, text) for name, text in texts.items()]):
        pass
    try:
        made = rows(knowledge, rows=20, refusals=0.3, seed=seed)
    except InputError:
        made = []
    event(f"{min(3, len(made))} rows or more")
    for row in made:
        check(row, texts)


def test_a_kept_question_brings_its_own_passage_first() -> None:
    for row in rows(demo(), rows=40, refusals=0):
        first = demo().search("kb", row["question"], top_k=1)[0].chunk
        source = row["source"]
        assert first.document == source["document"]
        assert first.start <= source["start"] and source["end"] <= first.end


def test_the_same_seed_makes_the_same_rows_and_another_does_not() -> None:
    assert rows(demo(), rows=20, seed=5) == rows(demo(), rows=20, seed=5)
    assert rows(demo(), rows=20, seed=5) != rows(demo(), rows=20, seed=6)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_refusals_have_their_share(share: float) -> None:
    made = rows(demo(), rows=30, refusals=share)
    found = sum(row["kind"] == "refusal" for row in made) / len(made)
    assert abs(found - share) <= 0.1


def test_no_more_rows_and_passages_than_wanted_and_each_question_once_of_a_kind() -> None:
    made = rows(demo(), rows=7, passages=2)
    assert len(made) == 7 and all(len(row["passages"]) <= 2 for row in made)
    keys = [(row["question"], row["kind"]) for row in made]
    assert len(set(keys)) == len(keys)


def test_the_place_of_the_right_passage_is_left_to_chance() -> None:
    marks = {row["answer"][-2] for row in rows(demo(), rows=30, refusals=0)}
    assert marks == {"1", "2", "3"}


def test_a_row_can_be_trained_on_as_it_is() -> None:
    encoder = RowEncoder(Tokenizer.from_file(BUILTIN_MODEL / "vocab.txt"))
    for row in rows(demo(), rows=10):
        assert encoder.encode(json.loads(json.dumps(row))).scored.any()


def test_progress_counts_sentences_and_rows() -> None:
    events = list(build(demo(), "kb", rows=5))
    assert [e.rows for e in events if e.row] == [1, 2, 3, 4, 5]
    assert all(0 < e.tried <= e.total for e in events)
    assert {e.written_by for e in events} == {"rules"}


def test_cancelling_ends_it_and_keeps_what_was_made() -> None:
    made: list[RowEvent] = []
    for each in build(demo(), "kb", rows=50, cancelled=lambda: len(made) >= 3):
        made.append(each)
    assert len(made) == 3 or len(made) == 4  # an answer and its refusal come together
    assert list(build(demo(), "kb", cancelled=lambda: True)) == []


class Questioner:
    """A model that writes what it is told to, and records what it was asked."""

    name = "questioner"

    def __init__(self, reply: str) -> None:
        self.reply, self.prompts = reply, []  # type: ignore[var-annotated]

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(
        self,
        prompt: str,
        *,
        sampling: Sampling,
        max_tokens: int,
        stop: Sequence[str] = (),
        sources: Sequence[str] | None = None,
        refusal: str = "",
    ) -> Iterator[Delta]:
        self.prompts.append(prompt)
        yield Delta(self.reply, finish="stop")


def test_a_model_that_writes_is_asked_in_the_language_of_the_sentence() -> None:
    knowledge = base({"a.txt": "The annual fee of the garden club is 48 pounds."})
    model = Questioner(" Question: What is the annual fee of the garden club\n\nmore")
    (row,) = rows(knowledge, refusals=0, generator=model)
    assert row["question"] == "What is the annual fee of the garden club?"
    assert row["answer"] == "The annual fee of the garden club is 48 pounds. [1]"
    assert "48 pounds" in model.prompts[0] and model.prompts[0].endswith("\n\nAssistant:")


FEE, BEES = "The annual fee of the garden club is 48 pounds.", "The bees of Wales sing at night."


@pytest.mark.parametrize("reply", ["", "?", "这是什么意思呢？", "x" * 500, FEE])
def test_what_is_no_question_makes_no_row(reply: str) -> None:
    with pytest.raises(InputError, match="makes a question"):
        rows(base({"a.txt": FEE}), generator=Questioner(reply))


def test_a_question_that_finds_another_passage_first_is_dropped() -> None:
    model = Questioner("What do the bees of Wales sing at night?")
    events = list(build(base({"a.txt": FEE, "b.txt": BEES}), "kb", refusals=0, generator=model))
    assert [e.row["source"]["document"] for e in events if e.row] == ["b.txt"]
    assert model.prompts and events[-1].dropped + events[-1].rows <= 2


@pytest.mark.parametrize("texts", [{}, {"a.txt": "Contents"}, {"a.txt": "他来了。"}])
def test_a_base_with_nothing_to_ask_is_told(texts: dict[str, str]) -> None:
    with pytest.raises(InputError, match="nothing in the knowledge base 'kb' makes a question"):
        rows(base(texts))


def test_wrong_wishes_are_told_at_once() -> None:
    for wishes in ({"rows": 0}, {"refusals": 1.0}, {"passages": 0}, {"passages": 99}):
        with pytest.raises(InputError, match="cannot be made"):
            build(demo(), "kb", **wishes)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        build(demo(), "other")


def test_a_long_book_does_not_silence_a_short_note(tmp_path: Path) -> None:
    book = "\n".join(f"第 {n} 号仓库的货架高度为 {n} 米。" for n in range(10, 400))
    made = rows(base({"book.txt": book, "note.txt": "整机保修期为 2 年。"}), rows=6, refusals=0)
    assert "note.txt" in {row["source"]["document"] for row in made}
