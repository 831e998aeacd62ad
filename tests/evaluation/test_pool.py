"""Passages as documents."""

from __future__ import annotations

from dataclasses import replace

from rwkv_rag.evaluation.dataset import Row
from rwkv_rag.evaluation.pool import BASE, document, fill, passage_hit, rank
from rwkv_rag.testing import MemoryKnowledge

ROW = Row("1", "zh", "made", "灯塔", "灯塔建于1875年。" * 100, "哪年？", ("1875年",), True)


def test_equal_passages_are_one_document_and_different_ones_are_two() -> None:
    knowledge = MemoryKnowledge()
    rows = [ROW, replace(ROW, id="2", question="谁？"), replace(ROW, id="3", passage="别的。")]
    assert fill(knowledge, rows, lambda done, total: None) == 2
    assert {each.name for each in knowledge.documents(BASE)} == {document(row).name for row in rows}


def test_a_long_passage_with_many_chunks_takes_one_place_in_the_ranking() -> None:
    knowledge = MemoryKnowledge()
    short = replace(ROW, passage="灯塔。")
    fill(knowledge, [ROW, short], lambda done, total: None)
    hits = knowledge.search(BASE, "灯塔建于1875年", top_k=30)
    assert len(hits) > 2
    assert rank(hits, document(ROW).name) == 1 and rank(hits, document(short).name) == 2
    assert rank(hits, "elsewhere") is None


def test_the_hit_of_a_passage_is_the_passage() -> None:
    chunk = passage_hit(ROW).chunk
    assert chunk.text == ROW.passage == document(ROW).text[chunk.start : chunk.end]
    assert chunk.document == document(ROW).name
