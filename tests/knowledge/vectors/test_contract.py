"""One suite for every vector index; the exact one is also the reference for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rwkv_rag.knowledge.vectors import VectorStore
from rwkv_rag.knowledge.vectors.chroma import ChromaStore
from rwkv_rag.knowledge.vectors.exact import ExactStore

DIMENSION = 16
Vectors = NDArray[np.float32]


def unit(count: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(params=["exact", "chroma"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    makers: dict[str, Callable[[], VectorStore]] = {
        "exact": ExactStore,
        "chroma": lambda: ChromaStore(tmp_path / "chroma"),
    }
    store = makers[request.param]()
    store.create("kb-1", DIMENSION)
    yield store
    store.close()


def test_the_nearest_come_first_with_their_cosine(store: VectorStore) -> None:
    vectors, question = unit(300), unit(1, seed=1)[0]
    store.upsert("kb-1", range(100, 400), vectors)
    found = store.query("kb-1", question, 10)
    cosines = vectors @ question
    assert [i for i, _ in found] == [int(i) + 100 for i in np.argsort(-cosines)[:10]]
    np.testing.assert_allclose([s for _, s in found], np.sort(cosines)[::-1][:10], atol=1e-5)


def test_an_upsert_overwrites(store: VectorStore) -> None:
    vectors = unit(2)
    store.upsert("kb-1", [7], vectors[:1])
    store.upsert("kb-1", [7, 8], vectors[::-1])
    assert store.count("kb-1") == 2
    (best, score), _ = store.query("kb-1", vectors[1], 2)
    assert best == 7
    assert score == pytest.approx(1.0, abs=1e-5)


def test_deleted_vectors_are_never_found_again(store: VectorStore) -> None:
    vectors = unit(20)
    store.upsert("kb-1", range(20), vectors)
    store.delete("kb-1", [3, 4, 999])
    assert store.ids("kb-1") == set(range(20)) - {3, 4}
    assert {i for i, _ in store.query("kb-1", vectors[3], 20)} == store.ids("kb-1")


def test_collections_do_not_mix(store: VectorStore) -> None:
    vectors = unit(2)
    store.create("kb-2", DIMENSION)
    store.upsert("kb-1", [1], vectors[:1])
    store.upsert("kb-2", [2], vectors[1:])
    store.create("kb-1", DIMENSION)
    assert [i for i, _ in store.query("kb-1", vectors[1], 5)] == [1]
    assert sorted(store.collections()) == ["kb-1", "kb-2"]
    store.drop("kb-1")
    store.drop("kb-1")
    assert (store.count("kb-1"), store.count("kb-2")) == (0, 1)


def test_empty_requests_are_harmless(store: VectorStore) -> None:
    store.upsert("kb-1", [], np.empty((0, DIMENSION), np.float32))
    store.delete("kb-1", [])
    assert store.query("kb-1", unit(1)[0], 5) == []
    assert store.ids("kb-1") == set()
