"""Knowledge: a library of documents behaves the same wherever it is."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.errors import AlreadyExists, Busy, InputError, ModelMismatch, NotFound, RagError
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.knowledge.library import Library
from rwkv_rag.services.contracts import KNOWLEDGE
from rwkv_rag.services.serve import FairLock
from rwkv_rag.testing import HashEmbedder, MemoryKnowledge, OverlapReranker, text_document
from rwkv_rag.types import Document, Page

from .conftest import Reach, ahead

GARDEN = "The garden opens at six.\n\nThe annual fee is 48 pounds.\n\nDogs are kept on a lead.\n"
MANUAL = "# 手册\n\n## 保养\n\n滤芯的使用寿命约为 12 个月。🌱\n\n## 售后\n\n整机保修期为 2 年。\n"
FINAL = ("indexed", "unchanged")
SOON_S = 10.0
Make = Callable[[], Knowledge]


@pytest.fixture(params=["library", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes empty knowledge; of the real kind and of the stand-in's."""
    made: list[Library] = []

    def library() -> Knowledge:
        home = tmp_path / f"home{len(made)}"
        made.append(Library(home, HashEmbedder(), OverlapReranker()))
        return made[-1]

    yield library if request.param == "library" else MemoryKnowledge
    for each in made:
        each.close()


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with closing(Library(tmp_path / "home", HashEmbedder(), OverlapReranker())) as library:
        yield library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "garden.txt").write_text(GARDEN, encoding="utf-8")
    (folder / "手册.md").write_text(MANUAL, encoding="utf-8")
    (folder / "empty.txt").write_text(" ", encoding="utf-8")
    return folder


def life(knowledge: Knowledge, folder: Path) -> list[Any]:
    """All that can be asked of a library, in the order of a life, and what it said."""
    files = [folder / "garden.txt", folder / "手册.md", folder / "empty.txt"]
    pages = (Page(1, 0, 3), Page(2, 4, 7))
    paged = Document("p.pdf", "one\ftwo", "0" * 64, "application/pdf", pages)
    said: list[Any] = [
        knowledge.bases(),
        knowledge.create("文档", chunk_size=60, chunk_overlap=5),
        knowledge.create("plain"),
        list(knowledge.index("文档", files)),
        list(knowledge.index("文档", files)),
        list(knowledge.add("文档", [paged, text_document("数.txt", "数据。")])),
        knowledge.bases(),
        knowledge.base("文档"),
        knowledge.documents("文档"),
        knowledge.document("文档", "手册.md"),
        knowledge.document("文档", "p.pdf"),
    ]
    for stage in ("lexical", "dense", "fused", "reranked"):
        said.append(knowledge.search("文档", "保修期 annual fee", top_k=3, stage=stage))
    chunk = said[-1][0].chunk
    said += [
        knowledge.chunk("文档", chunk.id),
        knowledge.verify("文档"),
        knowledge.rebuild("文档"),
        knowledge.remove("文档", "garden.txt"),
        knowledge.delete("plain"),
        knowledge.bases(),
        knowledge.search("文档", "annual fee"),
    ]
    return said


def test_a_library_lives_the_same_life_everywhere(reach: Reach, make: Make, folder: Path) -> None:
    assert life(reach(KNOWLEDGE, make()), folder) == life(make(), folder)


FAULTS: tuple[tuple[type[RagError], Callable[[Any], Any]], ...] = (
    (NotFound, lambda knowledge: knowledge.base("无")),
    (NotFound, lambda knowledge: knowledge.delete("无")),
    (NotFound, lambda knowledge: knowledge.document("docs", "无")),
    (NotFound, lambda knowledge: knowledge.remove("docs", "无")),
    (NotFound, lambda knowledge: knowledge.chunk("docs", "无")),
    (NotFound, lambda knowledge: knowledge.search("无", "q")),
    (NotFound, lambda knowledge: list(knowledge.index("无", []))),
    (NotFound, lambda knowledge: list(knowledge.add("无", []))),
    (AlreadyExists, lambda knowledge: knowledge.create("docs")),
    (InputError, lambda knowledge: knowledge.create("x", chunk_size=5, chunk_overlap=9)),
)


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_what_is_wrong_is_said_in_the_same_words(reach: Reach, make: Make, number: int) -> None:
    fault, ask = FAULTS[number]
    itself = make()
    itself.create("docs")
    with pytest.raises(fault) as expected:
        ask(itself)
    with pytest.raises(fault) as caught:
        ask(reach(KNOWLEDGE, itself))
    assert type(caught.value) is type(expected.value)
    assert str(caught.value) == str(expected.value)


def test_an_unknown_base_is_said_by_the_call_and_not_by_the_first_event(
    reach: Reach, library: Library
) -> None:
    with pytest.raises(NotFound):
        reach(KNOWLEDGE, library).index("nothing", [])


def test_a_base_of_another_model_is_refused_as_such(reach: Reach, tmp_path: Path) -> None:
    with closing(Library(tmp_path, HashEmbedder(64))) as first:
        first.create("docs")
    with closing(Library(tmp_path, HashEmbedder(128))) as second:
        there = reach(KNOWLEDGE, second)
        with pytest.raises(ModelMismatch, match="hash-64"):
            there.search("docs", "q")
        with pytest.raises(ModelMismatch, match="hash-64"):
            there.index("docs", [])


def test_paths_are_those_of_the_caller(
    reach: Reach, library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = reach(KNOWLEDGE, library)
    there.create("docs")
    monkeypatch.chdir(folder)
    assert [event.stage for event in there.index("docs", [Path("garden.txt")])][-1] == "indexed"


def documents(count: int) -> list[Document]:
    return [text_document(f"{n}.txt", f"text number {n} of many") for n in range(count)]


def test_a_stream_that_is_closed_stores_no_more(reach: Reach, library: Library, way: str) -> None:
    there = reach(KNOWLEDGE, library, lock=FairLock())
    there.create("docs")
    events = there.add("docs", documents(100))
    next(events)
    events.close()
    assert patient(lambda: list(there.add("docs", documents(1))))[-1].stage in FINAL
    assert there.base("docs").documents <= 1 + ahead(way)


def patient(change: Callable[[], Any]) -> Any:
    """Who closed a stream over a socket learns that it has ended by being let in again."""
    until = time.monotonic() + SOON_S
    while True:
        try:
            return change()
        except Busy:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_the_callers_own_way_of_cancelling_is_asked(
    reach: Reach, library: Library, tmp_path: Path
) -> None:
    for number in range(60):
        (tmp_path / f"{number:02}.txt").write_text(f"text number {number}", encoding="utf-8")
    there, seen = reach(KNOWLEDGE, library, lock=FairLock()), list[Any]()
    there.create("docs")
    files = sorted(tmp_path.glob("*.txt"))
    for event in there.index("docs", files, cancelled=lambda: len(seen) >= 5):
        seen.append(event)
    assert 5 <= len(seen) <= 8  # the object may finish the document it is at
    assert there.base("docs").documents < 60


def test_a_search_is_answered_while_an_indexing_is_under_way(
    reach: Reach, library: Library
) -> None:
    there = reach(KNOWLEDGE, library, lock=FairLock())
    there.create("docs")
    list(there.add("docs", documents(1)))
    events = there.add("docs", documents(100))
    next(events)
    assert there.search("docs", "text number")
    assert there.base("docs").documents < 100
    assert [event.stage for event in events].count("indexed") == 99


def test_a_large_document_arrives_whole(reach: Reach, library: Library) -> None:
    text = "".join(f"第 {n} 段，with words and 数字 {n}。\n\n" for n in range(50_000))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    large = Document("大.md", text, sha256, "text/markdown")
    there = reach(KNOWLEDGE, MemoryKnowledge())
    there.create("docs", chunk_size=4000, chunk_overlap=0)
    assert len(text.encode()) > 2_000_000
    assert [event.stage for event in there.add("docs", [large])] == ["indexed"]
    assert there.document("docs", "大.md") == large
