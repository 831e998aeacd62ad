"""Measure an exported model on a quarter of the dev questions, and write its manifest.

usage: python training/calibrate.py DEV MODEL [--rows N]

DEV is a file of questions (every fourth Chinese and every second English one is used: the training
questions share passages with rows that were trained on), MODEL the folder that export.py wrote.
Prints what it measured; weights and thresholds follow from it. train.py does the same at its end.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.by_answer import AnswerReranker
from rwkv_rag.encoders.embedder import RwkvEmbedder
from rwkv_rag.encoders.manifest import Manifest, Reading
from rwkv_rag.encoders.reader import Judgement, RwkvReader
from rwkv_rag.encoders.weighed import Candidate, WeighedReader, candidates, summed
from rwkv_rag.evaluation import retrieval
from rwkv_rag.evaluation.dataset import Row, read
from rwkv_rag.evaluation.metrics import f1, mean
from rwkv_rag.evaluation.pool import BASE, fill
from rwkv_rag.evaluation.report import evaluate
from rwkv_rag.interfaces import Reader, Reranker, SearchStage
from rwkv_rag.knowledge.library import Library
from rwkv_rag.rag.answering import Answerer, Answering
from rwkv_rag.rag.language import detect
from rwkv_rag.rag.spans import proposals
from rwkv_rag.types import EmbeddingModel, Hit, Language

Reranks: TypeAlias = Literal["sentence", "answer", "head"]

EVERY: dict[Language, int] = {"zh": 4, "en": 2}  # one row in so many of a language is looked at
FALSE_REFUSALS = 0.05  # of answerable questions, given the right passage
RERANKED = 150  # questions that rerankers are measured on: they read 20 passages for each
HEAD_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.5, 4.0, 8.0)
OUTSIDE = (None, 0.0, 1.0, 2.0, 4.0)
RANK_WEIGHTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
PASSAGES = Answering().top_k  # that an answer is made from
GAIN = 0.01  # in hit@1 + MRR@10: what takes more time is not used for less
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

    def __init__(self, reranker: Reranker) -> None:
        self._scores = cache(lambda query, texts: reranker.rerank(query, texts))

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        return list(self._scores(query, tuple(texts)))


class Remembered:
    """A reading head that remembers what it made of a passage."""

    def __init__(self, head: RwkvReader) -> None:
        self._judged = cache(lambda question, passage: head.judge(question, [passage])[0])

    def judge(self, question: str, passages: Sequence[str]) -> list[Judgement]:
        return [self._judged(question, passage) for passage in passages]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("dev", type=Path)
    options.add_argument("model", type=Path)
    options.add_argument("--rows", type=int, default=1000)
    given = options.parse_args()
    calibrate(given.dev, given.model, given.rows)


def calibrate(dev: Path, model: Path, limit: int = 1000) -> None:
    """Fill in the manifest of the folder `model`, by at most `limit` of the questions in `dev`."""
    rows = chosen(read(dev), limit)
    base = Base(model)
    manifest = reading(base.manifest, base, rows)
    with tempfile.TemporaryDirectory() as home:
        manifest = search_weights(manifest, base, rows, Path(home))
    manifest.write(model)
    print(manifest)


def chosen(rows: Sequence[Row], limit: int) -> list[Row]:
    """The questions that are looked at, in the order of the file."""
    seen = dict.fromkeys(EVERY, 0)
    found = []
    for row in rows:
        if seen[row.lang] % EVERY[row.lang] == 0:
            found.append(row)
        seen[row.lang] += 1
    return found[:: max(1, -(-len(found) // limit))]


def search_weights(manifest: Manifest, base: Base, rows: Sequence[Row], home: Path) -> Manifest:
    """Weights of the dense path and of reranking by hit@1, the floor, what counts as relevant, and
    what the place of a passage counts among readings.
    """
    embedder = Recalled(RwkvEmbedder(base))
    head = RwkvReader(base)
    reader = WeighedReader(lambda: head, manifest.reading)
    rerankers: dict[Reranks, Judged] = {  # the cheapest first
        "sentence": Judged(AnswerReranker(WeighedReader(lambda: head, {}).margins)),
        "answer": Judged(AnswerReranker(reader.margins)),
    }
    asked = [row for row in rows if row.answerable]

    @contextmanager
    def opened(weight: float, by: Reranks = "sentence", rerank: float = 0.0) -> Iterator[Library]:
        embedder.model = replace(embedder.model, fusion_weight=weight)
        reranker = rerankers[by] if rerank else None
        library = Library(home, embedder, reranker, rerank_weight=rerank)
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
    for weight in (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.5):
        with opened(weight) as library:
            fused[weight] = first(library, "fused")
    print("fused by weight:", fused)
    weight = max(fused, key=lambda each: (fused[each], each))  # of equals the largest
    by, rerank, most = "sentence", 0.0, 0.0
    for each in rerankers:
        ranked = {}
        for share in (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6):
            with opened(weight, each, share) as library:
                ranked[share] = first(library, "reranked", some(asked))
        print(f"reranked by {each}, by weight:", ranked)
        top = max(ranked, key=lambda share: ranked[share])
        if ranked[top] >= (most or ranked[0.0]) + GAIN:
            by, rerank, most = each, top, ranked[top]
    embedder.model = replace(embedder.model, similarity_floor=floor)
    with opened(weight, by, rerank) as library:
        found = [library.search(BASE, row.question, top_k=PASSAGES) for row in asked]
    relevant = [max((hit.relevance for hit in hits), default=0.0) for hits in found]
    return replace(
        manifest,
        fusion_weight=weight,
        rerank_weight=rerank,
        reranks_by=by,
        rank_weight=rank_weight(reader, asked, found),
        similarity_floor=round(floor, 3),
        relevance=round(float(np.quantile(relevant, LOST)), 3),
    )


def some(asked: Sequence[Row]) -> Sequence[Row]:
    """RERANKED of the questions, from all of them alike."""
    return asked[:: max(1, len(asked) // RERANKED)]


def rank_weight(reader: Reader, asked: Sequence[Row], found: Sequence[Sequence[Hit]]) -> float:
    """By F1 of the answers; a reading below 0 is a refusal, whatever its passage's place."""
    read = []
    for row, hits in zip(asked, found, strict=True):
        readings = enumerate(reader.read(row.question, [hit.chunk.text for hit in hits]))
        read.append([(place, each) for place, each in readings if each is not None])
    scores = {}
    for weight in RANK_WEIGHTS:
        total = []
        for row, hits, readings in zip(asked, found, read, strict=True):
            best = max(readings, key=lambda each: each[1].margin - weight * each[0], default=None)
            text = ""
            if best and best[1].margin >= 0:
                span = best[1].span
                text = hits[span.source].chunk.text[span.start : span.end]
            total.append(f1(text, row.answers, row.lang))
        scores[weight] = mean(total)
    print("end-to-end F1 by what a place costs:", scores)
    return max(scores, key=lambda each: scores[each])


def unrelated_cosine(embedder: Recalled, asked: Sequence[Row]) -> float:
    """The cosine that a question reaches with its nearest wrong passage once in twenty times."""

    vectors = embedder.embed_documents([row.passage for row in asked])
    questions = embedder.embed_queries([row.question for row in asked])
    cosines = questions @ vectors.T
    for number, row in enumerate(asked):
        cosines[number, [other.passage == row.passage for other in asked]] = -1.0
    return float(np.quantile(cosines.max(axis=1), 0.95))


@dataclass(frozen=True, slots=True)
class Seen:
    """What both minds of the reader make of one question and its passage."""

    row: Row
    margins: tuple[float, float]  # of the linear score, of the head
    candidates: list[tuple[Candidate, float]]  # with the F1 of each

    @classmethod
    def of(cls, row: Row, head: Remembered) -> Seen:
        proposed = proposals(row.question, row.passage)
        (judgement,) = head.judge(row.question, [row.passage])
        found = candidates(proposed, judgement, row.passage) if proposed.spans else []
        worth = [f1(row.passage[slice(*each.span)], row.answers, row.lang) for each in found]
        margins = proposed.margin, judgement.margin
        return cls(row, margins, list(zip(found, worth, strict=True)))

    def f1(self, weights: Reading) -> float:
        """Of the best span, whatever the margin says."""
        worth = {candidate.span: f1 for candidate, f1 in self.candidates}
        spans = summed([candidate for candidate, _ in self.candidates], weights)
        return worth[max(spans)[1]] if spans else 0.0


def reading(manifest: Manifest, base: Base, rows: Sequence[Row]) -> Manifest:
    """What the head counts beside the linear score, by language, and its margin when alone."""
    head = Remembered(RwkvReader(base))
    seen = [Seen.of(row, head) for row in rows]
    answerable = [each.margins[1] for each in seen if each.row.answerable]
    found: dict[Language, Reading] = {}
    for language in ("zh", "en"):
        own = [each for each in seen if detect(each.row.question) == language]
        scores = {
            (span, outside): mean(
                each.f1(Reading(span=span, outside=outside)) for each in own if each.row.answerable
            )
            for span in HEAD_WEIGHTS
            for outside in (OUTSIDE if span else (None,))
        }
        print(language, "F1 of the best span by weight of the head, and its own spans:", scores)
        span, outside = max(scores, key=lambda each: scores[each])
        found[language] = replace(verdict(own), span=span, outside=outside)
        print(language, found[language])
    margin = float(np.quantile(answerable, FALSE_REFUSALS))
    manifest = replace(manifest, read_margin=round(margin, 3), reading=found)
    base.manifest = manifest
    print("the head alone:", answers(RwkvReader(base), rows))
    print("both:", answers(WeighedReader(lambda: head, found), rows))
    return manifest


def verdict(seen: Sequence[Seen]) -> Reading:
    """Logistic regression: is the answer in the passage, by the margins of both?

    The bias is then set so that FALSE_REFUSALS of the answerable questions are refused.
    """
    signs = torch.tensor([each.margins for each in seen])
    there = torch.tensor([float(each.row.answerable) for each in seen])
    weights, bias = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        error = binary_cross_entropy_with_logits(signs @ weights + bias, there)
        total = error + 1e-3 * weights.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    linear, head = (max(0.0, weight) for weight in weights.tolist())
    scale = linear or head or 1.0  # margins stay comparable with those of the linear score
    linear, head = round(linear / scale, 4), round(head / scale, 4)
    margins = linear * signs[:, 0] + head * signs[:, 1]
    kept = float(torch.quantile(margins[there > 0], FALSE_REFUSALS))
    return Reading(bias=round(-kept, 4), linear=linear, head=head)


def answers(reader: Reader, rows: Sequence[Row]) -> Any:
    """F1 of `evaluate`: a refusal counts as 0, so that refusing too much loses."""
    answerer = Answerer(Answering(strategy="read"), reader=reader)
    return evaluate(rows, mode="gold", answerer=answerer)["answers"]


if __name__ == "__main__":
    main()
