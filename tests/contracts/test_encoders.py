"""Embedder, Reranker and Reader: the numbers are those of the object, to the last bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from rwkv_rag.errors import InputError
from rwkv_rag.services.contracts import EMBEDDER, READER, RERANKER
from rwkv_rag.services.serve import FairLock
from rwkv_rag.testing import HashEmbedder, OverlapReader, OverlapReranker

from .conftest import Reach

TEXTS = ["The fee is 48 pounds.", "保修期为两年。", "", "🌱 \x00 \u2028", "long " * 4000]


@pytest.mark.parametrize("texts", [TEXTS, tuple(TEXTS), [], ["one"]])
def test_vectors_are_the_same_numbers(reach: Reach, texts: Any) -> None:
    itself = HashEmbedder()
    there = reach(EMBEDDER, itself)
    for name in ("embed_documents", "embed_queries"):
        vectors, expected = getattr(there, name)(texts), getattr(itself, name)(list(texts))
        assert vectors.dtype == np.float32 and vectors.shape == (len(texts), 256)
        assert np.array_equal(vectors, expected)


def test_the_model_is_the_same_value(reach: Reach) -> None:
    assert reach(EMBEDDER, HashEmbedder(7)).model == HashEmbedder(7).model


def test_megabytes_of_vectors_arrive_whole(reach: Reach) -> None:
    itself = HashEmbedder(4096)
    texts = [f"text {number}" for number in range(512)]
    vectors = reach(EMBEDDER, itself).embed_documents(texts)
    assert vectors.nbytes == 8 << 20
    assert np.array_equal(vectors, itself.embed_documents(texts))


def test_a_search_is_not_stopped_by_who_changes_its_vectors(reach: Reach) -> None:
    there = reach(EMBEDDER, HashEmbedder())
    first = there.embed_queries(["same"])
    kept = first.copy()
    there.embed_queries(["other"] * 50)
    assert np.array_equal(first, kept)


def test_many_threads_share_an_embedder_that_takes_one_at_a_time(reach: Reach, way: str) -> None:
    busy: list[str] = []

    class Alone(HashEmbedder):
        def embed_queries(self, texts: Any) -> Any:
            assert not busy, "two at once"
            busy.append(texts[0])
            try:
                return super().embed_queries(texts)
            finally:
                busy.pop()

    if way == "direct":
        pytest.skip("the object itself takes one caller at a time")
    there = reach(EMBEDDER, Alone(), lock=FairLock())
    itself = HashEmbedder()
    texts = [[str(number)] for number in range(64)]
    with ThreadPoolExecutor(8) as threads:
        for text, got in zip(texts, threads.map(there.embed_queries, texts), strict=True):
            assert np.array_equal(got, itself.embed_queries(text))


def test_an_error_keeps_its_class_and_words(reach: Reach) -> None:
    class Picky(OverlapReranker):
        def rerank(self, query: str, texts: Any) -> list[float]:
            raise InputError(f"cannot rank by {query!r}")

    with pytest.raises(InputError, match="cannot rank by '词'"):
        reach(RERANKER, Picky()).rerank("词", ["a"])


def test_scores_are_the_same_numbers(reach: Reach) -> None:
    there = reach(RERANKER, OverlapReranker())
    expected = OverlapReranker().rerank("the fee 保修", TEXTS)
    assert there.rerank("the fee 保修", TEXTS) == expected and any(expected)
    assert there.rerank("x", []) == []


def test_readings_are_the_same_and_none_stays_none(reach: Reach) -> None:
    there = reach(READER, OverlapReader())
    readings = there.read("What is the fee?", TEXTS)
    assert readings == OverlapReader().read("What is the fee?", TEXTS)
    assert readings[2] is None and readings[0].span.end == len(TEXTS[0])
