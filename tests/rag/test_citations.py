"""Citations: what they hold, and that nothing unproven gets through."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rwkv_rag.rag.citations import Evidence, Given, Record, Stored, cite, holds
from rwkv_rag.testing import MemoryKnowledge, text_document
from rwkv_rag.types import Chunk, Document, Hit, Page

TEXT = "第一页的内容。员工每年享有十天年假。第二页的内容。病假每年十二天。"
SECOND = TEXT.index("第二页")
PAGES = (Page(1, 0, SECOND), Page(2, SECOND, len(TEXT)))


@pytest.fixture
def knowledge() -> MemoryKnowledge:
    stored = MemoryKnowledge()
    stored.create("kb", chunk_size=24, chunk_overlap=4)
    list(stored.add("kb", [replace(text_document("手册.pdf", TEXT), pages=PAGES)]))
    return stored


def found(knowledge: MemoryKnowledge, query: str) -> Hit:
    return knowledge.search("kb", query, top_k=1)[0]


def quoting(hit: Hit, words: str) -> Evidence:
    start = hit.chunk.text.index(words)
    return Evidence(hit, start, start + len(words))


def test_a_citation_names_document_page_and_exact_characters(knowledge: MemoryKnowledge) -> None:
    hit = found(knowledge, "病假十二天")
    (citation,) = cite([quoting(hit, "病假每年十二天。")], Stored(knowledge, "kb", whole=True))
    assert citation.document == "手册.pdf" and citation.chunk == hit.chunk.id
    assert TEXT[citation.start : citation.end] == citation.quote == "病假每年十二天。"
    assert citation.page == 2


def test_the_page_is_where_the_quote_starts_not_where_the_chunk_starts() -> None:
    chunk = Chunk("c", "手册.pdf", 0, 0, len(TEXT), TEXT, page=1)
    hit = Hit(chunk, 1.0, pages=PAGES)
    (citation,) = cite([quoting(hit, "病假")], Given([hit]))
    assert citation.page == 2
    (bare,) = cite([quoting(replace(hit, pages=()), "病假")], Given([hit]))
    assert bare.page == 1


def test_a_chunk_that_is_gone_is_not_cited(knowledge: MemoryKnowledge) -> None:
    hit = found(knowledge, "年假")
    knowledge.remove("kb", "手册.pdf")
    assert cite([quoting(hit, "十天")], Stored(knowledge, "kb")) == ()


def test_a_hit_that_differs_from_the_stored_chunk_is_not_cited(knowledge: MemoryKnowledge) -> None:
    hit = found(knowledge, "年假")
    forged = replace(hit, chunk=replace(hit.chunk, text=hit.chunk.text.replace("十天", "百天")))
    assert cite([quoting(forged, "百天")], Stored(knowledge, "kb")) == ()


@pytest.mark.parametrize(("start", "end"), [(-3, 2), (0, 0), (5, 3), (0, 10_000)])
def test_a_span_outside_its_chunk_is_not_cited(
    knowledge: MemoryKnowledge, start: int, end: int
) -> None:
    assert cite([Evidence(found(knowledge, "年假"), start, end)], Stored(knowledge, "kb")) == ()


class Shifted:
    """A store whose document text has moved under its chunks."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def chunk(self, chunk_id: str) -> Chunk | None:
        return self._record.chunk(chunk_id)

    def text(self, document: str) -> str | None:
        return "。" + TEXT


def test_a_document_that_disagrees_with_its_chunk_is_not_cited(knowledge: MemoryKnowledge) -> None:
    evidence = quoting(found(knowledge, "年假"), "十天年假")
    assert cite([evidence], Stored(knowledge, "kb"))
    assert cite([evidence], Shifted(Stored(knowledge, "kb"))) == ()


def test_a_place_found_through_two_overlapping_chunks_is_cited_once() -> None:
    document = Document("a.txt", TEXT, "0" * 64)
    one = Hit(Chunk("1", "a.txt", 0, 0, 20, document.text[:20]), 1.0)
    two = Hit(Chunk("2", "a.txt", 1, 5, 25, document.text[5:25]), 0.9)
    assert len(cite([quoting(one, "十天"), quoting(two, "十天")], Given([one, two]))) == 1


def test_an_old_citation_stops_holding_when_its_document_changes(
    knowledge: MemoryKnowledge,
) -> None:
    record = Stored(knowledge, "kb", whole=True)
    (citation,) = cite([quoting(found(knowledge, "年假"), "十天")], record)
    assert holds(citation, record)
    assert not holds(replace(citation, quote="百天"), record)
    assert not holds(replace(citation, document="别的.pdf"), record)
    list(knowledge.add("kb", [text_document("手册.pdf", "全新的内容。")]))
    assert not holds(citation, record)
