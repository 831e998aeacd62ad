"""The Knowledge protocol as its callers see it: names, bindings, two processes, repair."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rwkv_rag.errors import Busy, CorruptData, InputError, ModelMismatch, NotFound
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.knowledge import locks
from rwkv_rag.knowledge.library import Library, checked_name
from rwkv_rag.types import Document

from .conftest import Unprivileged


def test_a_library_is_a_knowledge(library: Library) -> None:
    knowledge: Knowledge = library
    base = knowledge.create("手册", chunk_size=100, chunk_overlap=20)
    assert knowledge.bases() == [base]
    assert (base.name, base.chunk_size, base.chunk_overlap) == ("手册", 100, 20)
    assert base.embedding_model == "pairs"


@pytest.mark.parametrize("name", ["a", "手册-2026_v1.0", "ü" * 64, "ひらがな", "हिन्दी", "9"])
def test_names_of_all_scripts_are_taken(library: Library, name: str) -> None:
    assert library.create(name).name == name
    library.delete(name)
    assert library.bases() == []


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "../a", "a/b", "a\\b", ".", "..", ".a", "-a", "a" * 65, "a\0", "a\n", "😀"],
)
def test_names_that_play_tricks_are_refused(library: Library, name: str) -> None:
    with pytest.raises(InputError, match="is no name for a knowledge base"):
        library.create(name)


def test_a_name_is_the_same_in_both_unicode_forms(library: Library) -> None:
    library.create("cafe\u0301")
    assert library.base("caf\u00e9").name == checked_name("cafe\u0301") == "caf\u00e9"


@pytest.mark.parametrize(("size", "overlap"), [(15, 0), (9000, 0), (100, 50)])
def test_bad_sizes_are_refused(library: Library, size: int, overlap: int) -> None:
    with pytest.raises(InputError):
        library.create("a", chunk_size=size, chunk_overlap=overlap)
    assert library.bases() == []


def test_an_unknown_base_is_refused_at_once_with_the_names_that_exist(library: Library) -> None:
    library.create("甲")
    library.create("乙")
    calls: list[Callable[[], Any]] = [
        lambda: library.base("x"),
        lambda: library.delete("x"),
        lambda: library.documents("x"),
        lambda: library.document("x", "d"),
        lambda: library.remove("x", "d"),
        lambda: library.index("x", []),
        lambda: library.add("x", []),
        lambda: library.search("x", "q"),
        lambda: library.chunk("x", "c"),
        lambda: library.verify("x"),
        lambda: library.rebuild("x"),
    ]
    for call in calls:
        with pytest.raises(NotFound, match="no knowledge base x; there are: 乙, 甲"):
            call()


def test_another_embedding_model_is_refused_with_both_names(
    tmp_path: Path, library: Library, make_embedder: Any, document: Callable[..., Document]
) -> None:
    library.create("a")
    list(library.add("a", [document("d", "质保两年。")]))
    for other in (make_embedder("newer"), make_embedder(dimension=32)):
        changed = Library(tmp_path / "home", other)
        for call in (
            lambda changed=changed: changed.search("a", "质保", stage="fused"),
            lambda changed=changed: changed.add("a", []),
        ):
            with pytest.raises(
                ModelMismatch, match=r"pairs \(64 numbers\), and now .*rwkv-rag index"
            ):
                call()
        assert changed.search("a", "质保", stage="lexical")
        changed.close()


def test_models_are_loaded_only_when_they_are_needed(
    tmp_path: Path, library: Library, embedder: Any, document: Callable[..., Document]
) -> None:
    library.create("a")
    list(library.add("a", [document("d", "质保两年。")]))
    loaded: list[str] = []

    def load() -> Any:
        loaded.append("embedder")
        return embedder

    lazy = Library(tmp_path / "home", load)
    lazy.bases(), lazy.documents("a"), lazy.document("a", "d"), lazy.verify("a")
    lazy.search("a", "质保", stage="lexical")
    lazy.rebuild("a")
    lazy.remove("a", "d")
    assert loaded == []
    lazy.search("a", "质保", stage="dense")
    lazy.search("a", "质保", stage="dense")
    assert loaded == ["embedder"]
    lazy.close()


def test_removed_documents_never_answer_again(
    library: Library, document: Callable[..., Document]
) -> None:
    library.create("a")
    documents = [document(f"{n}", f"第{n}号文件说质保期为{n}年。") for n in range(8)]
    list(library.add("a", documents))
    for n in range(8):
        library.remove("a", str(n))
        for stage in ("lexical", "dense", "fused"):
            hits = library.search("a", "质保期", top_k=20, stage=stage)  # type: ignore[arg-type]
            assert {hit.chunk.document for hit in hits} == {str(m) for m in range(n + 1, 8)}
    with pytest.raises(NotFound):
        library.remove("a", "0")


def test_one_process_changes_and_all_may_read(
    tmp_path: Path,
    library: Library,
    embedder: Any,
    document: Callable[..., Document],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.1)
    library.create("a")
    list(library.add("a", [document("old", "质保两年。")]))
    indexing = library.add("a", [document(str(n), f"第{n}份文件。") for n in range(3)])
    next(indexing)
    second = Library(tmp_path / "home", embedder)
    assert second.search("a", "质保")[0].chunk.document == "old"
    for change in (
        lambda: second.create("b"),
        lambda: second.delete("a"),
        lambda: second.remove("a", "old"),
        lambda: list(second.add("a", [document("x", "新的。")])),
    ):
        with pytest.raises(Busy, match=r"process \d+ is changing this library"):
            change()
    assert len(list(indexing)) > 0
    assert second.base("a").documents == 4
    second.remove("a", "old")
    assert library.search("a", "质保两年", stage="lexical") == []
    second.close()


def test_an_abandoned_indexing_lets_others_change(
    library: Library, document: Callable[..., Document]
) -> None:
    library.create("a")
    indexing = library.add("a", [document(str(n), f"第{n}份文件。") for n in range(3)])
    next(indexing)
    indexing.close()  # type: ignore[attr-defined]
    library.create("b")


FAULTS = {
    "UPDATE chunks SET text = text || 'x'": "differ from their document",
    "UPDATE chunks SET content = x'00'": "differ from their embedded text",
    "DELETE FROM lexical_1": "missing from the lexical index",
    "INSERT INTO lexical_1 (rowid, words) VALUES (999, 'x')": "entries have no chunk",
    "DELETE FROM embeddings": "no usable embedding",
    "UPDATE embeddings SET vector = x'0000'": "no usable embedding",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_contradiction_is_found(
    tmp_path: Path, library: Library, document: Callable[..., Document], fault: str
) -> None:
    library.create("a")
    list(library.add("a", [document("d", "质保两年。")]))
    assert library.verify("a") == []
    with closing(sqlite3.connect(tmp_path / "home" / "catalog.sqlite3")) as db, db:
        db.execute(fault)
    assert any(FAULTS[fault] in str(problem) for problem in library.verify("a"))


@pytest.mark.parametrize("fault", list(FAULTS)[2:])
def test_derived_data_is_rebuilt_from_the_truth(
    tmp_path: Path, library: Library, document: Callable[..., Document], fault: str
) -> None:
    library.create("a")
    list(library.add("a", [document("d", "质保两年。")]))
    before = library.search("a", "质保")
    with closing(sqlite3.connect(tmp_path / "home" / "catalog.sqlite3")) as db, db:
        db.execute(fault)
    library.rebuild("a")
    assert library.verify("a") == []
    assert library.search("a", "质保") == before


def test_a_foreign_data_directory_is_named(tmp_path: Path, embedder: Any) -> None:
    (tmp_path / "catalog.sqlite3").write_text("my shopping list " * 99)
    with pytest.raises(CorruptData, match=r"catalog\.sqlite3 is damaged"):
        Library(tmp_path, embedder)


@pytest.mark.parametrize("exact_below", [10**6, 1], ids=["exact", "chroma"])
def test_a_data_directory_that_may_only_be_read_answers_and_refuses_changes(
    unprivileged: Unprivileged,
    embedder: Any,
    document: Callable[..., Document],
    exact_below: int,
) -> None:
    home = unprivileged.directory / "home"
    with closing(Library(home, embedder)) as library:
        library.create("a")
        list(library.add("a", [document("d", "质保两年。")]))
        before = library.search("a", "质保")
    (home / "writer.lock").unlink()
    with unprivileged(), closing(Library(home, embedder, exact_below=exact_below)) as library:
        assert [base.name for base in library.bases()] == ["a"]
        assert library.search("a", "质保") == before
        for change in (
            lambda: library.create("b"),
            lambda: library.remove("a", "d"),
            lambda: list(library.add("a", [document("x", "新的。")])),
        ):
            with pytest.raises(InputError, match="cannot be opened for writing"):
                change()


def test_importing_the_library_loads_nothing_heavy() -> None:
    code = (
        "import sys, rwkv_rag.knowledge.library;"
        "heavy = {'torch', 'chromadb', 'pypdfium2', 'charset_normalizer'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
