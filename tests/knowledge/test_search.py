from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.errors import InputError
from rwkv_rag.interfaces import SearchStage
from rwkv_rag.knowledge.library import Library
from rwkv_rag.knowledge.search import RERANKED, fuse, reranked
from rwkv_rag.question import LONGEST_QUESTION
from rwkv_rag.types import Chunk, Document, Hit, Page

TEXTS = {
    "质保.txt": "本产品的质保期为两年，自购买之日起计算。",
    "退货.txt": "退货请在收到货物后七天内联系客服。",
    "运费.txt": "退货的运费由买家承担，质量问题除外。",
    "warranty.txt": "The warranty of the machine lasts two years.",
}
STAGES: tuple[SearchStage, ...] = ("lexical", "dense", "fused", "reranked")


class Fixed:
    """Gives each text the score under the first of its keys that the text holds."""

    def __init__(self, **scores: float) -> None:
        self.scores = scores
        self.asked: list[str] = []

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        self.asked = list(texts)
        return [next((s for k, s in self.scores.items() if k in text), 0.0) for text in texts]


@pytest.fixture
def filled(library: Library, document: Callable[..., Document]) -> Library:
    library.create("a")
    list(library.add("a", [document(name, text) for name, text in TEXTS.items()]))
    return library


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("质保期是多久？", "质保.txt"),
        ("运费由谁承担", "运费.txt"),
        ("the warranty", "warranty.txt"),
    ],
)
def test_every_stage_finds_the_right_document(
    filled: Library, question: str, name: str, stage: SearchStage
) -> None:
    hits = filled.search("a", question, stage=stage)
    assert hits[0].chunk.document == name
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(0.0 <= hit.relevance <= 1.0 for hit in hits)
    assert hits[0].relevance > 0.4


@pytest.mark.parametrize("stage", STAGES)
def test_a_question_about_something_else_is_not_relevant(
    filled: Library, stage: SearchStage
) -> None:
    hits = filled.search("a", "火星上有几座环形山？", stage=stage)
    assert all(hit.relevance < 0.3 for hit in hits)


def test_top_k_limits_the_hits(filled: Library) -> None:
    assert len(filled.search("a", "退货", top_k=1)) == 1
    with pytest.raises(InputError, match="top_k is 0"):
        filled.search("a", "退货", top_k=0)


@pytest.mark.parametrize("question", ["", " \n\t", "\u3000"])
def test_an_empty_question_is_refused(filled: Library, question: str) -> None:
    with pytest.raises(InputError, match="the question is empty"):
        filled.search("a", question)


def test_a_very_long_question_is_refused_with_its_length_and_the_limit(filled: Library) -> None:
    with pytest.raises(InputError, match="100,000 characters; the limit is 8,000"):
        filled.search("a", "质" * 100_000)
    assert filled.search("a", "质保期" * (LONGEST_QUESTION // 3))[0].chunk.document == "质保.txt"


@pytest.mark.parametrize("question", ["？！", "\ud800", "😀", '"AND" OR (', "\0"])
def test_odd_questions_are_only_searched(filled: Library, question: str) -> None:
    assert isinstance(filled.search("a", question), list)


def test_an_empty_base_has_no_hits(library: Library) -> None:
    library.create("a")
    assert all(library.search("a", "质保", stage=stage) == [] for stage in STAGES)


def test_a_model_of_no_weight_is_not_asked(
    tmp_path: Path, make_embedder: Any, document: Callable[..., Document]
) -> None:
    embedder = make_embedder(fusion_weight=0.0)
    library = Library(tmp_path / "weightless", embedder)
    library.create("a")
    list(library.add("a", [document(*item) for item in TEXTS.items()]))
    embedder.batches[:] = []
    fused = library.search("a", "质保期", stage="fused")
    assert embedder.batches == []
    assert fused == library.search("a", "质保期", stage="lexical")
    assert library.search("a", "质保期", stage="dense")
    library.close()


def test_hits_know_their_pages(library: Library, document: Callable[..., Document]) -> None:
    library.create("a", chunk_size=16, chunk_overlap=0)
    pages = (Page(1, 0, 14), Page(2, 15, 29))
    text = "本产品的质保期为两年整整的。\n退货请在七天内联系客服处。。"
    list(library.add("a", [document("a.pdf", text, pages=pages)]))
    (hit,) = library.search("a", "七天内退货", top_k=1)
    assert (hit.chunk.page, hit.pages) == (2, pages[1:])


@pytest.fixture
def with_reranker(
    filled: Library, tmp_path: Path, embedder: Any
) -> Iterator[Callable[[Fixed], Library]]:
    opened: list[Library] = []

    def make(reranker: Fixed) -> Library:
        opened.append(Library(tmp_path / "home", embedder, reranker, rerank_weight=0.9))
        return opened[-1]

    yield make
    for library in opened:
        library.close()


def test_the_reranker_decides_the_order(with_reranker: Callable[[Fixed], Library]) -> None:
    library = with_reranker(Fixed(运费=0.9, 七天=0.1))
    question = "退货请在几天内联系客服"
    assert library.search("a", question, stage="fused")[0].chunk.document == "退货.txt"
    assert library.search("a", question, stage="reranked")[0].chunk.document == "运费.txt"


def test_without_a_reranker_the_order_is_the_fused_one(filled: Library) -> None:
    assert filled.search("a", "退货") == filled.search("a", "退货", stage="fused")


def test_only_the_first_twenty_are_reranked_and_stay_in_front() -> None:
    chunks = [Chunk(str(n), "a", n, n, n + 1, f"text {n}") for n in range(30)]
    hits = [Hit(chunk, 1.0 / (61 + n)) for n, chunk in enumerate(chunks)]
    reranker = Fixed()
    found = reranked(hits, "question", reranker, 0.5)
    assert len(reranker.asked) == RERANKED
    assert [hit.chunk.index for hit in found] == list(range(30))


SCORES = st.dictionaries(st.integers(0, 30), st.floats(0.01, 50), max_size=20)
COSINES = st.dictionaries(st.integers(0, 30), st.floats(-1, 1), max_size=20)


@given(SCORES, COSINES, st.floats(0, 2))
def test_fusion_is_the_share_of_the_best_lexical_score_and_the_weighed_cosine(
    words: dict[int, float], cosines: dict[int, float], weight: float
) -> None:
    fused = fuse(list(words.items()), cosines, weight)
    assert {chunk for chunk, _ in fused} == words.keys() | cosines.keys()
    assert [s for _, s in fused] == sorted((s for _, s in fused), reverse=True)
    best = max(words.values(), default=1.0)
    for chunk, score in fused:
        expected = words.get(chunk, 0.0) / best + weight * max(0.0, cosines.get(chunk, 0.0))
        assert score == pytest.approx(expected)


def test_a_weak_path_decides_between_equals_and_not_against_a_clear_winner() -> None:
    cosines = {1: 0.1, 2: 0.9, 3: 0.2}
    assert [chunk for chunk, _ in fuse([(1, 9.0), (2, 8.9), (3, 3.0)], cosines, 0.5)] == [2, 1, 3]
    assert fuse([(1, 9.0), (2, 3.0), (3, 3.0)], cosines, 0.5)[0][0] == 1


def test_a_fused_hit_that_no_word_found_has_its_exact_cosine(
    library: Library, document: Callable[..., Document]
) -> None:
    """Chunks that only the lexical path found count with their vectors too."""
    library.create("a")
    list(library.add("a", [document(*item) for item in TEXTS.items()]))
    question = "质保期"
    dense = {hit.chunk.id: hit.score for hit in library.search("a", question, stage="dense")}
    words = library.search("a", question, stage="lexical")
    fused = {hit.chunk.id: hit.score for hit in library.search("a", question, stage="fused")}
    for hit in words:
        share = hit.score / words[0].score
        assert fused[hit.chunk.id] == pytest.approx(share + max(0.0, dense[hit.chunk.id]), abs=1e-3)
