"""Files are read here and sent; what the library elsewhere holds already is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from rwkv_rag.errors import NotFound
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.knowledge.library import Library
from rwkv_rag.knowledge.sending import sending
from rwkv_rag.testing import HashEmbedder
from rwkv_rag.types import Document, IndexEvent


class Far(Library):
    """A library that sees no file of ours, and remembers what it was sent."""

    sent: list[str]

    def index(self, *_: object, **__: object) -> Iterator[IndexEvent]:  # type: ignore[override]
        raise AssertionError("its files are elsewhere")

    def add(self, name: str, documents: Sequence[Document]) -> Iterator[IndexEvent]:
        self.sent += [document.name for document in documents]
        return super().add(name, documents)


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    with closing(Far(tmp_path / "far", HashEmbedder())) as far:
        far.sent = []
        far.create("docs")
        yield far


@pytest.fixture
def here(far: Far) -> Knowledge:
    return sending(far)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("The fee is 48 pounds.\n", encoding="utf-8")
    (folder / "sub" / "乙.md").write_text("# 保修\n\n保修期为两年。\n", encoding="gb18030")
    (folder / "c.exe").write_bytes(b"MZ\x00")
    return folder


def test_files_are_known_by_the_names_they_would_have_had(
    here: Knowledge, folder: Path, tmp_path: Path
) -> None:
    events = list(here.index("docs", [folder]))
    with closing(Library(tmp_path / "near", HashEmbedder())) as near:
        near.create("docs")
        told = list(near.index("docs", [folder]))
        assert here.documents("docs") == near.documents("docs")
        for info in near.documents("docs"):
            assert here.document("docs", info.name) == near.document("docs", info.name)
    assert events == told


def test_what_is_there_already_is_not_sent_again(here: Knowledge, far: Far, folder: Path) -> None:
    list(here.index("docs", [folder]))
    assert far.sent == ["a.txt", "sub/乙.md"]
    (folder / "a.txt").write_text("The fee is 50 pounds.\n", encoding="utf-8")
    stages = {event.document: event.stage for event in here.index("docs", [folder])}
    assert stages == {"a.txt": "replaced", "c.exe": "skipped", "sub/乙.md": "unchanged"}
    assert far.sent == ["a.txt", "sub/乙.md", "a.txt"]
    assert "50" in here.document("docs", "a.txt").text


def test_an_unknown_base_is_said_by_the_call(here: Knowledge, folder: Path) -> None:
    with pytest.raises(NotFound):
        here.index("nothing", [folder])


def test_what_is_no_longer_wanted_is_not_read(here: Knowledge, far: Far, folder: Path) -> None:
    events = here.index("docs", [folder], cancelled=lambda: bool(far.sent))
    assert [event.document for event in events if event.stage == "indexed"] == ["a.txt"]
    assert far.sent == ["a.txt"]


def test_a_closed_stream_lets_the_library_go(here: Knowledge, far: Far, folder: Path) -> None:
    events = here.index("docs", [folder])
    while next(events).stage != "embedding":
        pass
    events.close()  # type: ignore[attr-defined]
    far.create("more")  # nobody holds the lock of those who change things


def test_the_rest_is_the_librarys_own(here: Knowledge, far: Far) -> None:
    assert here.bases() == far.bases() and here.verify("docs") == []
