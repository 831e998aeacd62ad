"""The roles at run time compute what the heads were trained to compute."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.embedder import RwkvEmbedder, batches
from rwkv_rag.encoders.reader import ANSWER_TOKENS, RwkvReader, best_span, trimmed
from rwkv_rag.rwkv.role import ReadIds, embed_ids, matches, read_ids
from rwkv_rag.tuning.heads import Heads
from rwkv_rag.tuning.network import Network

Modules = tuple[Network, Heads]
TEXTS = ["北京是中国的首都。", "the cat", "a", "😀 mixed 文字 and the rest"]
QUESTION = "中国的首都是什么？"


def lengths(ids: torch.Tensor) -> torch.Tensor:
    return torch.tensor([ids.shape[1]])


def test_vectors_equal_the_trained_head(base: Base, modules: Modules) -> None:
    network, heads = modules
    vectors = RwkvEmbedder(base).embed_documents(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = torch.tensor([embed_ids(base.tokenizer.encode(text), 256)])
        with torch.no_grad():
            wanted = heads.embed(network, heads.states["embed"], ids, lengths(ids))[0]
        np.testing.assert_allclose(vector, wanted.numpy(), atol=2e-4)


def test_vectors_have_unit_length_and_do_not_depend_on_the_batch(base: Base) -> None:
    embedder = RwkvEmbedder(base)
    together = embedder.embed_queries(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([embedder.embed_queries([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert embedder.embed_queries([]).shape == (0, embedder.model.dimension)


def test_reading_equals_the_trained_head(base: Base, modules: Modules) -> None:
    """The question is read once and its state shared; the result is that of reading it each
    time.
    """
    network, heads = modules
    readings = RwkvReader(base).read(QUESTION, TEXTS)
    for number, (text, reading) in enumerate(zip(TEXTS, readings, strict=True)):
        encode = base.tokenizer.encode
        read = read_ids(encode(QUESTION), base.newline, encode(text))
        ids = torch.tensor([read.ids])
        with torch.no_grad():
            told = torch.tensor([matches(read)]), torch.tensor([read.passage_start])
            scores = heads.read(network, heads.states["read"], ids, lengths(ids), *told)[0]
        margin, _, _ = best_span(scores, read.passage_start)
        assert reading is not None
        assert reading.span.source == number
        assert abs(reading.margin + base.manifest.read_margin - margin) < 1e-2


def test_readings_lie_inside_their_passages(base: Base) -> None:
    passages = ["", "文" * 700, "word " * 300, "😀" * 90, "\n\n"]
    readings = RwkvReader(base).read("什么？" * 40, passages)
    assert readings[0] is None
    for reading, passage in zip(readings[1:], passages[1:], strict=True):
        assert reading is not None
        assert 0 <= reading.span.start < reading.span.end <= len(passage)


@given(st.integers(1, 60), st.integers(0, 3))
def test_best_span_is_the_best_of_all_spans(size: int, first: int) -> None:
    scores = torch.randn(first + size, 2, generator=torch.Generator().manual_seed(size))
    margin, start, end = best_span(scores, first)
    every = [
        float(scores[first + s, 0] + scores[first + e, 1])
        for s in range(size)
        for e in range(s, min(size, s + ANSWER_TOKENS))
    ]
    assert abs(margin + float(scores[0].sum()) - max(every)) < 1e-5
    assert 0 <= start <= end < min(size, start + ANSWER_TOKENS)


def test_edges_of_a_span_lose_punctuation_but_keep_pairs() -> None:
    text = "他写了《红楼梦》，很好。"
    assert trimmed(text, 3, 9) == (3, 8)
    assert trimmed(text, 3, 7) == (4, 7)
    assert trimmed(text, 8, 9) == (8, 9)


@given(st.lists(st.integers(1, 50)), st.integers(1, 60))
def test_batches_hold_every_item_once_in_order(sizes: list[int], limit: int) -> None:
    groups = batches(sizes, limit)
    assert [i for group in groups for i in group] == list(range(len(sizes)))
    assert all(len(g) == 1 or sum(sizes[i] for i in g) <= limit for g in groups)


def test_matches_mark_tokens_and_pairs_of_the_question() -> None:
    read = ReadIds((0, 7, 8, 9, 11, 8, 9, 5, 7, 9), 5)
    assert matches(read) == [0, 0, 0, 0, 0, 1, 2, 0, 1, 1]
