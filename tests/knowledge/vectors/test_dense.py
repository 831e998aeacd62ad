"""Which index serves, and that it always equals the catalog."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.knowledge.library import Library
from rwkv_rag.knowledge.locks import FileLock
from rwkv_rag.types import Document

TOPICS = ("质保期为两年", "退货须在七天内", "运费由买家承担", "发票随货寄出", "客服电话全天开通")


@pytest.fixture
def documents(document: Callable[..., Document]) -> list[Document]:
    return [document(f"{n}.txt", f"第{n}条：{TOPICS[n % 5]}，编号{n}。") for n in range(20)]


@pytest.fixture
def chroma(tmp_path: Path, embedder: Any, documents: list[Document]) -> Iterator[Library]:
    """A library whose smallest base is large enough for Chroma."""
    library = Library(tmp_path / "home", embedder, exact_below=1)
    library.create("a")
    list(library.add("a", documents))
    yield library
    library.close()


def dense_ids(library: Library, question: str) -> list[str]:
    return [hit.chunk.id for hit in library.search("a", question, top_k=5, stage="dense")]


def test_small_bases_never_open_chroma(
    tmp_path: Path, library: Library, documents: list[Document]
) -> None:
    library.create("a")
    list(library.add("a", documents))
    assert dense_ids(library, "质保期多久")
    assert not (tmp_path / "home" / "chroma").exists()


def test_chroma_and_exact_search_agree(tmp_path: Path, embedder: Any, chroma: Library) -> None:
    exact = Library(tmp_path / "home", embedder)
    for question in TOPICS:
        assert set(dense_ids(chroma, question)) == set(dense_ids(exact, question))
    exact.close()


def test_while_another_process_holds_chroma_search_is_exact(
    tmp_path: Path, embedder: Any, chroma: Library
) -> None:
    wanted = dense_ids(chroma, TOPICS[0])
    second = Library(tmp_path / "home", embedder, exact_below=1)
    assert set(dense_ids(second, TOPICS[0])) == set(wanted)
    (problem,) = second.verify("a")
    assert "another process holds it" in str(problem) and "not checked" in str(problem)
    second.close()


def test_what_another_process_wrote_is_found_at_the_next_search(
    tmp_path: Path, embedder: Any, chroma: Library, document: Callable[..., Document]
) -> None:
    second = Library(tmp_path / "home", embedder, exact_below=1)
    list(second.add("a", [document("new.txt", "紫色大象在天上飞。")]))
    second.remove("a", "0.txt")
    second.close()
    hits = chroma.search("a", "紫色大象在天上飞。", top_k=30, stage="dense")
    assert hits[0].chunk.document == "new.txt"
    assert "0.txt" not in {hit.chunk.document for hit in hits}
    assert chroma.verify("a") == []


def test_a_crash_between_commit_and_index_is_repaired_by_the_next_search(
    tmp_path: Path, embedder: Any, chroma: Library, document: Callable[..., Document]
) -> None:
    chroma.close()
    # A library that never fills Chroma leaves what a process killed after the commit leaves.
    crashed = Library(tmp_path / "home", embedder)
    list(crashed.add("a", [document("1.txt", "紫色大象在天上飞。")]))
    crashed.close()
    library = Library(tmp_path / "home", embedder, exact_below=1)
    assert len(library.verify("a")) == 2
    hits = library.search("a", "紫色大象在天上飞。", top_k=1, stage="dense")
    assert hits[0].chunk.text == "紫色大象在天上飞。"
    assert library.verify("a") == []
    library.close()


def test_a_damaged_or_deleted_index_costs_nothing(
    tmp_path: Path, embedder: Any, chroma: Library
) -> None:
    wanted = set(dense_ids(chroma, TOPICS[1]))
    chroma.close()
    shutil.rmtree(tmp_path / "home" / "chroma")
    (tmp_path / "home" / "chroma").mkdir()
    (tmp_path / "home" / "chroma" / "chroma.sqlite3").write_bytes(b"rubbish" * 900)
    library = Library(tmp_path / "home", embedder, exact_below=1)
    assert set(dense_ids(library, TOPICS[1])) == wanted
    assert "cannot be used" in str(library.verify("a")[0])
    library.rebuild("a")
    assert library.verify("a") == []
    assert set(dense_ids(library, TOPICS[1])) == wanted
    library.close()


def test_bases_deleted_while_chroma_was_held_are_swept(
    tmp_path: Path, embedder: Any, chroma: Library, documents: list[Document]
) -> None:
    chroma.close()
    lock = FileLock(tmp_path / "home" / "chroma.lock")
    assert lock.acquire()
    second = Library(tmp_path / "home", embedder, exact_below=1)
    second.delete("a")
    lock.release()
    second.create("a")
    list(second.add("a", documents[:3]))
    assert len(second.search("a", TOPICS[0], top_k=30, stage="dense")) == 3
    store = second._dense._open()
    assert store is not None
    assert len(store.collections()) == 1
    second.close()
