"""Measure an exported model on a quarter of the dev questions, and write its manifest.

usage: python training/calibrate.py DATA MODEL [--rows N]

DATA is the data folder (every fourth row of qa/dev.jsonl.xz is used: the training questions share
passages with rows that were trained on), MODEL the folder that export.py wrote. Prints what it
measured; weights, thresholds and which reader answers follow from it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.embedder import RwkvEmbedder
from rwkv_rag.encoders.manifest import Manifest
from rwkv_rag.encoders.reader import Judgement, RwkvReader
from rwkv_rag.encoders.reranker import RwkvReranker
from rwkv_rag.encoders.weighed import Head, WeighedReader
from rwkv_rag.evaluation import retrieval
from rwkv_rag.evaluation.dataset import Row, read
from rwkv_rag.evaluation.pool import BASE, fill
from rwkv_rag.evaluation.report import evaluate
from rwkv_rag.interfaces import Reader, SearchStage
from rwkv_rag.knowledge.library import Library
from rwkv_rag.rag.answering import Answerer, Answering
from rwkv_rag.types import EmbeddingModel, Language

EVERY = 4  # one row in so many of the dev data is looked at
FALSE_REFUSALS = 0.08  # of answerable questions, given the right passage
RERANKED = 100  # questions that the reranker is measured on: it reads 20 passages for each
HEAD_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
GAIN = 0.01  # in hit@1 + MRR@10: reranking costs too much time to be used for less
LOST = 0.01  # of answerable questions, refused for want of a relevant hit


class Recalled:
    """An embedder that remembers vectors and lets its fusion weight be set."""

    def __init__(self, embedder: RwkvEmbedder) -> None:
        self._embedder = embedder
        self.model: EmbeddingModel = embedder.model
        self._query = cache(lambda text: embedder.embed_queries([text])[0])

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embedder.embed_documents(texts)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self._query(text) for text in texts])


class Judged:
    """A reranker that remembers its scores."""

    def __init__(self, reranker: RwkvReranker) -> None:
        self._scores = cache(lambda query, texts: reranker.rerank(query, texts))

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        return list(self._scores(query, tuple(texts)))


class Remembered:
    """A reading head that remembers its judgements."""

    def __init__(self, head: RwkvReader) -> None:
        self._judge = cache(head.judge)

    def judge(self, question: str, passages: Sequence[str]) -> list[Judgement]:
        return self._judge(question, tuple(passages))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("data", type=Path)
    options.add_argument("model", type=Path)
    options.add_argument("--rows", type=int, default=1000)
    given = options.parse_args()

    rows = read(given.data / "qa/dev.jsonl.xz")[::EVERY][: given.rows]
    base = Base(given.model)
    manifest = base.manifest
    with tempfile.TemporaryDirectory() as home:
        manifest = search_weights(manifest, base, rows, Path(home))
    manifest = reading(manifest, base, rows)
    manifest.write(given.model)
    print(manifest)


def search_weights(manifest: Manifest, base: Base, rows: Sequence[Row], home: Path) -> Manifest:
    """Weights of the dense path and of reranking by hit@1, the floor, what counts as relevant."""
    embedder, reranker = Recalled(RwkvEmbedder(base)), Judged(RwkvReranker(base))
    asked = [row for row in rows if row.answerable]

    @contextmanager
    def opened(weight: float, rerank: float = 0.0) -> Iterator[Library]:
        embedder.model = replace(embedder.model, fusion_weight=weight)
        library = Library(home, embedder, reranker if rerank else None, rerank_weight=rerank)
        with closing(library):
            yield library

    def first(library: Library, stage: SearchStage, rows: Sequence[Row] = asked) -> float:
        places = retrieval.ranks(rows, library, lambda: None, stages=(stage,))[stage]
        figures = retrieval.figures(places)
        return figures["hit@1"] + figures["mrr@10"]  # MRR decides between equals

    with opened(1.0) as library:
        print(f"{fill(library, rows, lambda done, total: None)} passages, {len(asked)} questions")
        print(f"dense alone: {first(library, 'dense'):.4f} (hit@1 + MRR@10)")
        floor = unrelated_cosine(embedder, asked)
    fused = {}
    for weight in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        with opened(weight) as library:
            fused[weight] = first(library, "fused")
    print("fused by weight:", fused)
    weight = max(fused, key=lambda each: (fused[each], each))  # of equals the largest
    ranked = {}
    for rerank in (0.0, 0.05, 0.1, 0.2, 0.4):
        with opened(weight, rerank) as library:
            ranked[rerank] = first(library, "reranked", asked[:RERANKED])
    print("reranked by weight:", ranked)
    rerank = max(ranked, key=lambda each: ranked[each])
    embedder.model = replace(embedder.model, similarity_floor=floor)
    with opened(weight) as library:
        best = [
            max((hit.relevance for hit in library.search(BASE, row.question)), default=0.0)
            for row in asked
        ]
    return replace(
        manifest,
        fusion_weight=weight,
        rerank_weight=rerank if ranked[rerank] >= ranked[0.0] + GAIN else 0.0,
        similarity_floor=round(floor, 3),
        relevance=round(float(np.quantile(best, LOST)), 3),
    )


def unrelated_cosine(embedder: Recalled, asked: Sequence[Row]) -> float:
    """The cosine that a question reaches with its nearest wrong passage once in twenty times."""

    vectors = embedder.embed_documents([row.passage for row in asked])
    questions = embedder.embed_queries([row.question for row in asked])
    cosines = questions @ vectors.T
    for number, row in enumerate(asked):
        cosines[number, [other.passage == row.passage for other in asked]] = -1.0
    return float(np.quantile(cosines.max(axis=1), 0.95))


def reading(manifest: Manifest, base: Base, rows: Sequence[Row]) -> Manifest:
    """The head's margin at FALSE_REFUSALS, and its weight beside the linear score, by language.

    F1 is that of `evaluate`: a refusal counts as 0, so that refusing too much loses.
    """
    base.manifest = replace(manifest, read_margin=0.0)
    found = [
        RwkvReader(base).read(row.question, [row.passage])[0] for row in rows if row.answerable
    ]
    margin = float(np.quantile([each.margin for each in found if each], FALSE_REFUSALS))
    base.manifest = replace(manifest, read_margin=round(margin, 3))
    print("the head alone:", answers(RwkvReader(base), rows))
    head = Remembered(RwkvReader(base))
    scores = {weight: answers(weighed(head, weight), rows) for weight in HEAD_WEIGHTS}
    best: dict[Language, float] = {}
    for language in ("zh", "en"):
        f1 = {weight: figures[language]["f1"] for weight, figures in scores.items()}
        best[language] = max(f1, key=lambda each: f1[each])
        print(language, "F1 by weight of the head:", f1)
    return replace(base.manifest, head_weight=best)


def weighed(head: Head, weight: float) -> Reader:
    return WeighedReader(lambda: head, {"zh": weight, "en": weight})


def answers(reader: Reader, rows: Sequence[Row]) -> Any:
    answerer = Answerer(Answering(strategy="read"), reader=reader)
    return evaluate(rows, mode="gold", answerer=answerer)["answers"]


if __name__ == "__main__":
    main()
