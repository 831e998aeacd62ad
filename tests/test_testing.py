"""The fakes keep the promises of their Protocols."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.errors import AlreadyExists, InputError, NotFound
from rwkv_rag.interfaces import Embedder, Generator, Knowledge, Reader, Reranker
from rwkv_rag.testing import (
    CopyGenerator,
    HashEmbedder,
    MemoryKnowledge,
    OverlapReader,
    OverlapReranker,
    ScriptedGenerator,
    text_document,
)
from rwkv_rag.types import GREEDY, Delta

HANDBOOK = "员工手册。每年十天年假。病假每年十二天。"
PROTOCOLS: tuple[Embedder, Reranker, Generator, Generator, Reader, Knowledge] = (
    HashEmbedder(),
    OverlapReranker(),
    CopyGenerator(),
    ScriptedGenerator(),
    OverlapReader(),
    MemoryKnowledge(),
)
"""mypy checks here that every fake is what it stands for."""


@given(st.lists(st.text(max_size=40), max_size=5))
def test_vectors_have_unit_length_and_the_promised_shape(texts: list[str]) -> None:
    vectors = HashEmbedder(32).embed_documents(texts)
    assert vectors.shape == (len(texts), 32) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_vectors_are_the_same_in_every_process() -> None:
    code = (
        "from rwkv_rag.testing import HashEmbedder as H;"
        "import sys; sys.stdout.write(H(16).embed_queries(['年假 days']).tobytes().hex())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout == HashEmbedder(16).embed_queries(["年假 days"]).tobytes().hex()


def test_texts_that_share_words_are_nearer_than_texts_that_do_not() -> None:
    near, far, query = HashEmbedder().embed_documents(
        ["每年十天年假", "tall lighthouse", "年假几天"]
    )
    assert near @ query > far @ query + 0.1


def test_the_reranker_scores_by_what_is_shared() -> None:
    good, bad, none = OverlapReranker().rerank("病假几天", [HANDBOOK, "每天", "seal"])
    assert 1 >= good > bad > none == 0.0


def test_the_reader_reads_sentences_and_doubts_strangers() -> None:
    own, other, empty = OverlapReader().read("病假每年几天", [HANDBOOK, "The seal.", " "])
    assert own is not None and other is not None and empty is None
    assert HANDBOOK[own.span.start : own.span.end] == "病假每年十二天。" and own.span.source == 0
    assert own.margin > 0 > other.margin


def test_the_copier_is_grounded_when_asked_and_refuses_what_it_cannot_find() -> None:
    deltas = list(
        CopyGenerator().generate(
            "病假每年几天", sampling=GREEDY, max_tokens=9, sources=["seal", HANDBOOK], refusal="无"
        )
    )
    span = deltas[-1].span
    assert span is not None and span.source == 1
    assert "".join(delta.text for delta in deltas) == HANDBOOK[span.start : span.end]
    (refused,) = CopyGenerator().generate(
        "quark", sampling=GREEDY, max_tokens=9, sources=[HANDBOOK], refusal="无"
    )
    assert refused == Delta("无", finish="refusal")


@pytest.mark.parametrize(
    ("options", "text", "finish"),
    [
        ({"max_tokens": 99}, "one two three", "stop"),
        ({"max_tokens": 2}, "one two", "length"),
        ({"max_tokens": 99, "stop": [" three"]}, "one two", "stop"),
    ],
)
def test_a_script_is_streamed_within_its_limits(
    options: dict[str, object], text: str, finish: str
) -> None:
    deltas = list(ScriptedGenerator("one two three").generate("?", sampling=GREEDY, **options))  # type: ignore[arg-type]
    assert "".join(delta.text for delta in deltas) == text
    assert [delta.finish for delta in deltas if delta.finish] == [finish]


def test_a_script_that_has_ended_says_so_and_keeps_its_prompts() -> None:
    generator = ScriptedGenerator("yes")
    list(generator.generate("first", sampling=GREEDY, max_tokens=9))
    with pytest.raises(InputError, match="no reply left"):
        generator.generate("second", sampling=GREEDY, max_tokens=9)
    assert generator.prompts == ["first", "second"]


def test_memory_chunks_are_slices_of_their_documents_and_cover_them() -> None:
    knowledge = MemoryKnowledge()
    knowledge.create("kb", chunk_size=7, chunk_overlap=2)
    list(knowledge.add("kb", [text_document("a", HANDBOOK)]))
    hits = knowledge.search("kb", HANDBOOK, top_k=99)
    covered: set[int] = set()
    for hit in hits:
        assert hit.chunk.text == HANDBOOK[hit.chunk.start : hit.chunk.end]
        assert knowledge.chunk("kb", hit.chunk.id) == hit.chunk
        covered.update(range(hit.chunk.start, hit.chunk.end))
    assert covered == set(range(len(HANDBOOK)))


def test_memory_tells_new_unchanged_and_replaced_documents_apart() -> None:
    knowledge = MemoryKnowledge()
    knowledge.create("kb")
    one, two = text_document("a", "旧的内容"), text_document("a", "新的内容")
    stages = [next(knowledge.add("kb", [each])).stage for each in (one, one, two)]
    assert stages == ["indexed", "unchanged", "replaced"]
    assert knowledge.document("kb", "a").text == "新的内容" and knowledge.base("kb").documents == 1
    assert knowledge.documents("kb")[0].characters == 4
    knowledge.remove("kb", "a")
    assert knowledge.search("kb", "内容") == [] and knowledge.base("kb").chunks == 0


def test_memory_indexes_text_files_and_skips_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(HANDBOOK, encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\xfa")
    knowledge = MemoryKnowledge()
    knowledge.create("kb")
    paths = [tmp_path / name for name in ("a.txt", "b.txt", "c.txt")]
    events = list(knowledge.index("kb", paths))
    assert [event.stage for event in events] == ["indexed", "skipped", "skipped"]
    assert "b.txt" in str(events[1].reason)
    assert list(knowledge.index("kb", paths, cancelled=lambda: True)) == []


def test_memory_refuses_what_the_real_one_refuses() -> None:
    knowledge = MemoryKnowledge()
    knowledge.create("kb")
    with pytest.raises(AlreadyExists):
        knowledge.create("kb")
    with pytest.raises(InputError):
        knowledge.create("other", chunk_size=10, chunk_overlap=10)
    with pytest.raises(NotFound, match="kb"):
        knowledge.search("nowhere", "?")
    for missing in (knowledge.chunk, knowledge.document, knowledge.remove):
        with pytest.raises(NotFound):
            missing("kb", "nothing")
    knowledge.delete("kb")
    assert knowledge.bases() == []
