"""Questions to ranked hits: lexical, dense, fused, reranked. Knows no file and no threshold.

Fusion adds scores: BM25 as a share of the question's best, and the cosine times the model's weight.
Sums of scores keep how far apart two chunks are, which sums of reciprocal ranks lose (Bruch et al.,
"An Analysis of Fusion Functions for Hybrid Retrieval", 2022), and a weaker path cannot push
the clear winner of the other aside. `relevance` is calibrated: the larger of the weighted share of
the question's words that the chunk holds, and of the cosine above the model's floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rwkv_rag.errors import InputError
from rwkv_rag.interfaces import Embedder, Reranker, SearchStage
from rwkv_rag.knowledge import lexical
from rwkv_rag.knowledge.catalog import Base, Catalog
from rwkv_rag.knowledge.ingest import check_vectors
from rwkv_rag.knowledge.split import embedded_text, pages_of
from rwkv_rag.knowledge.vectors import Scored
from rwkv_rag.knowledge.vectors.dense import DenseIndex
from rwkv_rag.question import checked_question
from rwkv_rag.types import EmbeddingModel, Hit

CANDIDATES = 50  # of each path
RERANKED = 20  # more candidates make rerankers worse, not only slower
RERANK_WEIGHT = 0.5  # of the reranker's score beside the fused one

Ranking = list[Scored]


@dataclass(frozen=True, slots=True)
class _Found:
    """One question's findings while it is being answered."""

    lookup: lexical.Lookup
    vector: NDArray[np.float32] | None  # (dimension,)
    model: EmbeddingModel | None


class Search:
    """Searches one base."""

    def __init__(self, catalog: Catalog, dense: DenseIndex, base_name: str) -> None:
        self._catalog = catalog
        self._dense = dense
        self._name = base_name

    def run(
        self,
        question: str,
        *,
        top_k: int,
        stage: SearchStage,
        embedder: Embedder | None,
        reranker: Reranker | None,
        rerank_weight: float = RERANK_WEIGHT,
    ) -> list[Hit]:
        """The best chunks. `embedder` is needed for every stage but "lexical"."""
        question = checked_question(question)
        if top_k < 1:
            raise InputError("top_k is {top_k}; it must be 1 or more", top_k=top_k)
        model = None if embedder is None else embedder.model
        vector = self._vector(question, embedder, model, stage)
        limit = max(CANDIDATES, top_k)
        with self._catalog.read() as db:
            base = self._catalog.base(self._name)
            found = _Found(lexical.look_up(db, base.id, question), vector, model)
            ranking = self._ranking(base, found, limit, stage)
            hits = self._hits(base, found, ranking)
        if stage == "reranked" and reranker is not None and hits:
            hits = reranked(hits, question, reranker, rerank_weight)
        return hits[:top_k]

    def _vector(
        self,
        question: str,
        embedder: Embedder | None,
        model: EmbeddingModel | None,
        stage: SearchStage,
    ) -> NDArray[np.float32] | None:
        if embedder is None or model is None or stage == "lexical":
            return None
        if stage != "dense" and model.fusion_weight == 0:
            return None
        vectors = embedder.embed_queries([question])
        check_vectors(vectors, 1, self._catalog.base(self._name))
        return np.asarray(vectors[0], np.float32)

    def _ranking(self, base: Base, found: _Found, limit: int, stage: SearchStage) -> Ranking:
        near: Ranking = []
        if found.vector is not None:
            near = self._dense.query(base, found.vector, limit)
        if stage == "dense":
            return near
        words = found.lookup.ranked(limit)
        if found.vector is None or found.model is None:
            return words
        cosines = dict(near)
        rest = [chunk for chunk, _ in words if chunk not in cosines]
        cosines |= self._cosines(base, found.vector, rest)
        return fuse(words, cosines, found.model.fusion_weight)

    def _hits(self, base: Base, found: _Found, ranking: Ranking) -> list[Hit]:
        ids = [chunk for chunk, _ in ranking]
        stored = self._catalog.chunks(base, ids)
        near = self._similarities(base, found, ids)
        hits = []
        for chunk_id, score in ranking:
            if chunk_id not in stored:  # deleted since the vector index was filled
                continue
            chunk, pages = stored[chunk_id]
            relevance = max(found.lookup.share(chunk_id), near[chunk_id])
            touched = pages_of(pages, chunk.start, chunk.end)
            hits.append(Hit(chunk, score, round(min(relevance, 1.0), 6), touched))
        return hits

    def _similarities(self, base: Base, found: _Found, ids: Sequence[int]) -> dict[int, float]:
        """Cosines above the model's floor, stretched to 0..1."""
        near = dict.fromkeys(ids, 0.0)
        if found.vector is not None and found.model is not None and ids:
            floor = found.model.similarity_floor
            for chunk_id, cosine in self._cosines(base, found.vector, ids).items():
                near[chunk_id] = max(0.0, (cosine - floor) / max(1.0 - floor, 1e-6))
        return near

    def _cosines(
        self, base: Base, vector: NDArray[np.float32], ids: Sequence[int]
    ) -> dict[int, float]:
        known, vectors = self._catalog.vectors(base, ids)
        return dict(zip(known, (vectors @ vector).tolist(), strict=True))


def fuse(words: Ranking, cosines: Mapping[int, float], weight: float) -> Ranking:
    """All chunks that either path found, best first: BM25 in 0..1 plus `weight` x cosine.

    A chunk that lacks one of the two counts 0 for it, as does a cosine below 0.
    """
    best = max((score for _, score in words), default=0.0) or 1.0
    scores = {chunk: weight * max(0.0, cosine) for chunk, cosine in cosines.items()}
    for chunk, score in words:
        scores[chunk] = scores.get(chunk, 0.0) + score / best
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def reranked(hits: Sequence[Hit], question: str, reranker: Reranker, weight: float) -> list[Hit]:
    """The best hits scored anew: a weighted mean of the reranker's score and the fused one.

    Hits behind the first `RERANKED` count as 0 to the reranker and so stay behind.
    """
    texts = [embedded_text(hit.chunk) for hit in hits[:RERANKED]]
    given = reranker.rerank(question, texts)
    given += [0.0] * (len(hits) - len(texts))
    best = hits[0].score or 1.0
    rescored = [
        Hit(hit.chunk, (1 - weight) * hit.score / best + weight * score, hit.relevance, hit.pages)
        for hit, score in zip(hits, given, strict=True)
    ]
    return sorted(rescored, key=lambda hit: -hit.score)
