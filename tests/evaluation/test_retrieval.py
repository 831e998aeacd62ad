"""Retrieval figures stage by stage."""

from __future__ import annotations

from rwkv_rag.evaluation.dataset import Row
from rwkv_rag.evaluation.pool import fill
from rwkv_rag.evaluation.retrieval import STAGES, figures, ranks
from rwkv_rag.interfaces import SearchStage
from rwkv_rag.testing import MemoryKnowledge
from rwkv_rag.types import Hit


class DenseFails(MemoryKnowledge):
    """Its dense stage ranks everything upside down."""

    def search(
        self, name: str, query: str, *, top_k: int = 5, stage: SearchStage = "reranked"
    ) -> list[Hit]:
        hits = super().search(name, query, top_k=top_k, stage=stage)
        return hits[::-1] if stage == "dense" else hits


def test_stages_are_measured_apart_and_unanswerable_questions_not_at_all() -> None:
    passages = ["灯塔建于1875年。", "灯塔高31米。", "公司食堂。"]
    rows = [
        Row("1", "zh", "made", "", passages[0], "灯塔建于哪年", ("1875年",), True),
        Row("2", "zh", "made", "", passages[1], "灯塔高几米", ("31米",), True),
        Row("3", "zh", "made", "", passages[2], "火星在哪", (), False),
    ]
    knowledge = DenseFails()
    fill(knowledge, rows, lambda done, total: None)
    steps: list[None] = []
    found = ranks(rows, knowledge, lambda: steps.append(None))
    assert set(found) == set(STAGES) and len(steps) == 2
    assert found["lexical"] == [1, 1] and found["dense"] == [2, 2]
    assert figures(found["dense"]) == {"hit@1": 0.0, "hit@5": 1.0, "hit@10": 1.0, "mrr@10": 0.5}
