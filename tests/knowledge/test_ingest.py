"""Indexing: events, identity, resuming, and processes killed in the middle."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rwkv_rag.errors import ModelMismatch, RagError
from rwkv_rag.knowledge.ingest import BATCH
from rwkv_rag.knowledge.library import Library
from rwkv_rag.types import Document, IndexEvent


def outcomes(events: Sequence[IndexEvent]) -> dict[str, str]:
    final = ("indexed", "unchanged", "replaced", "skipped")
    return {event.document: event.stage for event in events if event.stage in final}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_bytes("质保期为两年。\r\n".encode("gbk"))
    (folder / "sub" / "b.md").write_text("# 退货\n七天内可以退货。\n", encoding="utf-8")
    (folder / "c.txt").write_bytes(b"")
    (folder / "d.bin").write_bytes(b"\0\1\2")
    return folder


def test_a_directory_is_indexed_and_what_cannot_be_read_is_told(
    library: Library, folder: Path
) -> None:
    library.create("a")
    events = list(library.index("a", [folder, folder / "gone.txt"]))
    assert outcomes(events) == {
        "a.txt": "indexed",
        "sub/b.md": "indexed",
        "c.txt": "skipped",
        "d.bin": "skipped",
        "gone.txt": "skipped",
    }
    reasons = {event.document: str(event.reason) for event in events if event.reason}
    assert "is empty" in reasons["c.txt"]
    assert "supported are" in reasons["d.bin"]
    assert "does not exist" in reasons["gone.txt"]
    assert (events[-1].done, events[-1].total) == (5, 5)
    assert library.verify("a") == []


def test_indexing_again_changes_nothing_and_embeds_nothing(
    library: Library, embedder: Any, folder: Path
) -> None:
    library.create("a")
    list(library.index("a", [folder]))
    before, embedder.batches[:] = library.base("a"), []
    events = outcomes(list(library.index("a", [folder])))
    assert {events["a.txt"], events["sub/b.md"]} == {"unchanged"}
    assert library.base("a") == before
    assert embedder.batches == []


def test_changed_content_replaces_and_embeds_only_what_is_new(
    library: Library, embedder: Any, document: Callable[..., Document]
) -> None:
    library.create("a", chunk_size=16, chunk_overlap=0)
    list(library.add("a", [document("a", "第一句话写在这里面。\n\n第二句话写在这里面。")]))
    embedder.batches[:] = []
    events = list(library.add("a", [document("a", "第一句话写在这里面。\n\n第三句话写在这里面。")]))
    assert outcomes(events) == {"a": "replaced"}
    assert embedder.batches == [1]
    assert library.search("a", "第二句话", stage="lexical")[0].chunk.text != "第二句话写在这里面。"
    assert library.verify("a") == []


def test_the_embedder_is_asked_in_batches_and_progress_is_told(
    library: Library, embedder: Any, document: Callable[..., Document]
) -> None:
    library.create("a", chunk_size=16, chunk_overlap=0)
    text = "".join(f"这是第{n}个独立的段落。\n\n" for n in range(100, 180))
    events = list(library.add("a", [document("a", text)]))
    assert embedder.batches == [BATCH, BATCH, 16]
    assert [event.chunks_done for event in events] == [0, 32, 64, 80, 80]
    assert {event.chunks_total for event in events} == {80}


def test_a_document_read_in_part_says_so(
    library: Library, tmp_path: Path, make_pdf: Callable[..., bytes]
) -> None:
    library.create("a")
    (tmp_path / "a.pdf").write_bytes(make_pdf(["First page.", "", ""]))
    event = list(library.index("a", [tmp_path / "a.pdf"]))[-1]
    assert event.stage == "indexed"
    assert "2 of 3 pages have no text (page 2, 3)" in str(event.reason)


def test_documents_that_cannot_be_stored_are_skipped(
    library: Library, document: Callable[..., Document]
) -> None:
    library.create("a")
    blank, broken = document("blank", " \n"), Document("broken", "a\ud800b", "0" * 64)
    events = list(library.add("a", [blank, broken, document("good", "好的。")]))
    assert outcomes(events) == {"blank": "skipped", "broken": "skipped", "good": "indexed"}


def test_a_name_that_is_not_utf8_stops_nothing(library: Library, folder: Path) -> None:
    for raw, text in ((b"\xff.txt", "一"), (b"\xfe.txt", "二"), (b"\xfd.xyz", "三")):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + raw)).write_text(text, encoding="utf-8")
    library.create("a")
    stages = outcomes(list(library.index("a", [folder])))
    assert list(stages.values()).count("indexed") == 4
    assert set(stages) >= {info.name for info in library.documents("a")}
    again = outcomes(list(library.index("a", [folder])))
    assert list(again.values()).count("unchanged") == 4
    (event,) = library.add("a", [Document("\udcff.txt", "四", "0" * 64)])
    assert event.stage == "skipped" and "not valid Unicode" in str(event.reason)
    event.document.encode()


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def run(library: Library, *paths: Path) -> dict[str, str]:
    return outcomes(list(library.index("a", paths)))


def stored(library: Library) -> dict[str, str]:
    """Text by name; no two documents may hold the same."""
    infos = library.documents("a")
    assert len({info.sha256 for info in infos}) == len(infos)
    assert library.verify("a") == []
    return {info.name: library.document("a", info.name).text for info in infos}


def test_files_of_the_same_name_from_other_directories_stand_side_by_side(
    library: Library, tmp_path: Path
) -> None:
    library.create("a")
    places = [tmp_path / place for place in ("p1", "p2", "q/p2")]
    for n, place in enumerate(places):
        put(place / "README.md", f"第{n}份说明。")
        assert set(run(library, place).values()) == {"indexed"}
    names = ["README.md", "p2/README.md", "p2/README (2).md"]
    assert stored(library) == {name: f"第{n}份说明。" for n, name in enumerate(names)}
    put(places[1] / "README.md", "新的说明。")
    assert run(library, *places) == {
        "README.md": "unchanged",
        "p2/README.md": "replaced",
        "p2/README (2).md": "unchanged",
    }
    assert stored(library)["p2/README.md"] == "新的说明。"


def test_a_file_keeps_its_name_from_wherever_it_is_indexed(
    library: Library, tmp_path: Path
) -> None:
    library.create("a")
    path = put(tmp_path / "docs" / "sub" / "b.txt", "旧的。")
    run(library, tmp_path / "docs")
    put(path, "新的。")
    assert run(library, path) == {"sub/b.txt": "replaced"}
    assert stored(library) == {"sub/b.txt": "新的。"}


def test_an_upload_replaces_the_one_of_its_name_though_its_folder_was_another(
    library: Library, tmp_path: Path
) -> None:
    library.create("a")
    first = put(tmp_path / "rwkv-rag-upload-x1" / "0" / "manual.md", "旧的。")
    second = put(tmp_path / "rwkv-rag-upload-x2" / "0" / "manual.md", "新的。")
    assert run(library, first) == {"manual.md": "indexed"}
    assert run(library, second) == {"manual.md": "replaced"}
    assert stored(library) == {"manual.md": "新的。"}


def test_the_same_content_is_kept_once_and_its_place_is_named(
    library: Library, tmp_path: Path, document: Callable[..., Document]
) -> None:
    library.create("a")
    put(tmp_path / "docs" / "a.txt", "质保两年。")
    put(tmp_path / "docs" / "b.txt", "质保两年。")
    for first in ("indexed", "unchanged"):
        events = list(library.index("a", [tmp_path / "docs"]))
        assert outcomes(events) == {"a.txt": first, "b.txt": "unchanged"}
        assert "already in the base as a.txt" in str(events[-1].reason)
    (event,) = list(library.add("a", [document("c", "质保两年。")]))[-1:]
    assert event.stage == "unchanged" and "as a.txt" in str(event.reason)
    assert stored(library) == {"a.txt": "质保两年。"}


def test_a_file_that_became_a_copy_leaves_nothing_of_its_old_content(
    library: Library, tmp_path: Path
) -> None:
    library.create("a")
    put(tmp_path / "docs" / "a.txt", "一。")
    put(tmp_path / "docs" / "b.txt", "二。")
    run(library, tmp_path / "docs")
    put(tmp_path / "docs" / "b.txt", "一。")
    assert run(library, tmp_path / "docs") == {"a.txt": "unchanged", "b.txt": "replaced"}
    assert stored(library) == {"a.txt": "一。"}
    put(tmp_path / "docs" / "a.txt", "三。")
    run(library, tmp_path / "docs")
    assert stored(library) == {"a.txt": "三。", "b.txt": "一。"}


def test_a_moved_file_keeps_its_document_and_its_later_changes_reach_it(
    library: Library, tmp_path: Path
) -> None:
    library.create("a")
    old = put(tmp_path / "docs" / "a.txt", "一。")
    run(library, tmp_path / "docs")
    new = old.rename(tmp_path / "docs" / "b.txt")
    assert run(library, tmp_path / "docs") == {"b.txt": "unchanged"}
    put(new, "二。")
    assert run(library, tmp_path / "docs") == {"a.txt": "replaced"}
    assert stored(library) == {"a.txt": "二。"}


@pytest.mark.parametrize("seed", range(8))
def test_after_any_shuffle_of_files_the_base_holds_just_their_contents(
    library: Library, tmp_path: Path, seed: int
) -> None:
    chance, docs = random.Random(seed), tmp_path / "docs"
    library.create("a")
    for name in "abcd":
        put(docs / f"{name}.txt", f"内容{name}。")
    run(library, docs)
    for _ in range(6):
        texts = [chance.choice("abcdef") for _ in "abcd"]  # swaps, copies, chains
        for name, text in zip("abcd", texts, strict=True):
            put(docs / f"{name}.txt", f"内容{text}。")
        run(library, docs)
        assert set(stored(library).values()) == {f"内容{text}。" for text in texts}


def test_cancelling_stops_between_batches_and_keeps_what_was_embedded(
    library: Library, embedder: Any, tmp_path: Path
) -> None:
    library.create("a", chunk_size=16, chunk_overlap=0)
    path = tmp_path / "a.txt"
    path.write_text("".join(f"这是第{n}个独立的段落。\n\n" for n in range(100, 180)))
    events = list(library.index("a", [path], cancelled=lambda: len(embedder.batches) >= 2))
    assert outcomes(events) == {}
    assert library.base("a").documents == 0
    assert outcomes(list(library.index("a", [path]))) == {"a.txt": "indexed"}
    assert sum(embedder.batches) == 80


@pytest.mark.parametrize(
    ("vectors", "error"),
    [(np.ones((1, 3), np.float32), ModelMismatch), (np.full((1, 64), np.nan), RagError)],
)
def test_unusable_vectors_are_refused_and_nothing_is_stored(
    library: Library,
    embedder: Any,
    document: Callable[..., Document],
    monkeypatch: pytest.MonkeyPatch,
    vectors: NDArray[np.float32],
    error: type[RagError],
) -> None:
    library.create("a")
    monkeypatch.setattr(embedder, "embed_documents", lambda texts: vectors)
    with pytest.raises(error):
        list(library.add("a", [document("a", "文字。")]))
    monkeypatch.undo()
    assert library.base("a").documents == 0
    assert outcomes(list(library.add("a", [document("a", "文字。")]))) == {"a": "indexed"}


INDEX = """
import sys, time, zlib
from pathlib import Path
import numpy as np
from rwkv_rag.knowledge.library import Library
from rwkv_rag.types import EmbeddingModel

class Slow:
    model = EmbeddingModel("pairs", 64, similarity_floor=0.3)
    def embed_documents(self, texts):
        time.sleep(0.002 * len(texts))
        vectors = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(vectors, texts):
            for left, right in zip(text, text[1:]):
                row[zlib.crc32((left + right).encode()) % 64] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    embed_queries = embed_documents

library = Library(Path(sys.argv[1]), Slow(), exact_below=int(sys.argv[3]))
if not library.bases():
    library.create("a", chunk_size=40, chunk_overlap=10)
print("ready", flush=True)
for event in library.index("a", [Path(sys.argv[2])]):
    pass
library.close()
print("finished", flush=True)
"""


def index_and_kill(home: Path, folder: Path, exact_below: int, after_s: float) -> bool:
    """Index in another process and kill it `after_s` seconds later; True if it had finished."""
    arguments = [sys.executable, "-c", INDEX, str(home), str(folder), str(exact_below)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after_s)
        process.kill()
        return "finished" in process.stdout.read()


@pytest.mark.slow
@pytest.mark.parametrize("exact_below", [10**6, 1], ids=["exact", "chroma"])
def test_a_process_killed_again_and_again_loses_and_duplicates_nothing(
    tmp_path: Path, make_embedder: Any, exact_below: int
) -> None:
    chance, folder, home = random.Random(7), tmp_path / "docs", tmp_path / "home"
    folder.mkdir()
    for n in range(25):
        text = "".join(f"文件{n}的第{i}句话，数字是{n * i}。" for i in range(chance.randint(3, 30)))
        (folder / f"{n:02}.txt").write_text(text, encoding="utf-8")
    kills = 0
    # Longer and longer lives, so that every stage is hit and the work ends at last.
    while not index_and_kill(home, folder, exact_below, chance.uniform(0.02, 0.15 * (1 + kills))):
        kills += 1
        assert kills < 60
    assert kills >= 2, "the process was never killed at work"
    library = Library(home, make_embedder(), exact_below=exact_below)
    clean = Library(tmp_path / "clean", make_embedder())
    clean.create("a", chunk_size=40, chunk_overlap=10)
    list(clean.index("a", [folder]))
    assert library.documents("a") == clean.documents("a")
    for info in clean.documents("a"):
        assert info.sha256 == hashlib.sha256((folder / info.name).read_bytes()).hexdigest()
    question = "文件7的第2句话"
    found = [h.chunk for h in library.search("a", question, top_k=20, stage="lexical")]
    assert found == [h.chunk for h in clean.search("a", question, top_k=20, stage="lexical")]
    library.search("a", question, stage="dense")
    assert library.verify("a") == []
    library.close()
    clean.close()
