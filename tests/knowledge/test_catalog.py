from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rwkv_rag.errors import AlreadyExists, NotFound
from rwkv_rag.knowledge.catalog import Base, Catalog, content_hash
from rwkv_rag.knowledge.split import embedded_text, split
from rwkv_rag.types import Document, EmbeddingModel, Page

MODEL = EmbeddingModel("m", 4)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = Catalog(tmp_path / "catalog")
    catalog.create_base("a", size=40, overlap=0, model=MODEL)
    yield catalog
    catalog.close()


def put(catalog: Catalog, base: Base, document: Document) -> None:
    chunks = split(document, size=40, overlap=0)
    keys = [content_hash(embedded_text(chunk)) for chunk in chunks]
    catalog.put_embeddings("m", {key: np.ones(4, np.float32) / 2 for key in keys})
    catalog.put_document(base, document, chunks)


def test_a_document_comes_back_as_it_went_in(
    catalog: Catalog, document: Callable[..., Document]
) -> None:
    base = catalog.base("a")
    stored = document("甲.pdf", "第一页\n第二页😀", pages=(Page(1, 0, 3), Page(2, 4, 8)))
    put(catalog, base, stored)
    assert catalog.document(base, "甲.pdf") == stored
    (info,) = catalog.documents(base)
    assert (info.characters, info.chunks, info.pages) == (8, 1, 2)
    (chunk,) = split(stored, size=40, overlap=0)
    assert catalog.chunk(base, chunk.id) == chunk


def test_replacing_leaves_nothing_of_the_old_version(
    catalog: Catalog, document: Callable[..., Document]
) -> None:
    base = catalog.base("a")
    put(catalog, base, document("a", "旧的一段文字。" * 20))
    put(catalog, base, document("a", "新的。"))
    base = catalog.base("a")
    assert (base.documents, base.chunks, base.generation) == (1, 1, 2)
    with catalog.read() as db:
        assert db.execute("SELECT count(*) FROM embeddings").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM lexical_1").fetchone() == (1,)


def test_embeddings_live_as_long_as_some_chunk_uses_them(
    catalog: Catalog, document: Callable[..., Document]
) -> None:
    base, key = catalog.base("a"), content_hash("同样的文字。")
    put(catalog, base, document("a", "同样的文字。"))
    put(catalog, base, document("b", "同样的文字。"))
    catalog.remove_document(base, "a")
    assert catalog.missing("m", [key]) == set()
    catalog.remove_document(base, "b")
    assert catalog.missing("m", [key]) == {key}
    assert catalog.missing("other", [key]) == {key}


def test_ids_of_deleted_chunks_are_not_used_again(
    catalog: Catalog, document: Callable[..., Document]
) -> None:
    base = catalog.base("a")
    put(catalog, base, document("a", "旧的。"))
    old = catalog.chunk_ids(base)
    catalog.remove_document(base, "a")
    put(catalog, base, document("a", "新的。"))
    assert not old & catalog.chunk_ids(base)


def test_vectors_keep_three_digits(catalog: Catalog, document: Callable[..., Document]) -> None:
    base, vector = catalog.base("a"), np.array([0.1, -0.2, 0.3, 0.9], np.float32)
    put(catalog, base, document("a", "文字。"))
    catalog.put_embeddings("m", {content_hash("文字。"): vector})
    ids, vectors = catalog.vectors(base)
    assert ids == sorted(catalog.chunk_ids(base))
    np.testing.assert_allclose(vectors, [vector], atol=5e-4)
    np.testing.assert_array_equal(catalog.vectors(base, ids)[1], vectors)


def test_more_chunks_are_fetched_than_sqlite_takes_parameters(
    catalog: Catalog, document: Callable[..., Document]
) -> None:
    base = catalog.base("a")
    put(
        catalog,
        base,
        document("a", "".join(f"这是第{n}句，写得很长很长很长很长很长。\n" for n in range(1500))),
    )
    ids = sorted(catalog.chunk_ids(base))
    assert len(ids) > 1000
    assert sorted(catalog.chunks(base, ids)) == ids
    assert catalog.vectors(base, ids)[1].shape == (len(ids), 4)


def test_deleting_a_base_leaves_the_others(
    catalog: Catalog, document: Callable[..., Document]
) -> None:
    catalog.create_base("b", size=40, overlap=0, model=MODEL)
    for name in "ab":
        put(catalog, catalog.base(name), document("d", "同样的文字。"))
    catalog.delete_base(catalog.base("a"))
    assert [base.name for base in catalog.bases()] == ["b"]
    assert catalog.vectors(catalog.base("b"))[1].shape == (1, 4)
    with catalog.read() as db:
        assert db.execute("SELECT count(*) FROM chunks").fetchone() == (1,)
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    assert not any(name.startswith("lexical_1") for name in names)


def test_unknown_and_known_names_are_told(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="no knowledge base b; there are: a"):
        catalog.base("b")
    with pytest.raises(NotFound, match="a has no document d"):
        catalog.document(catalog.base("a"), "d")
    with pytest.raises(NotFound, match="a has no chunk c"):
        catalog.chunk(catalog.base("a"), "c")
    with pytest.raises(AlreadyExists, match="a exists already"):
        catalog.create_base("a", size=40, overlap=0, model=MODEL)
    catalog.delete_base(catalog.base("a"))
    with pytest.raises(NotFound, match="there is none yet"):
        catalog.base("a")
