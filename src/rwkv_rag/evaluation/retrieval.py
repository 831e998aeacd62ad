"""How well search finds the right passage, stage by stage. Knows the Knowledge Protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from rwkv_rag.evaluation.dataset import Row
from rwkv_rag.evaluation.metrics import hit_at, mrr_at
from rwkv_rag.evaluation.pool import BASE, document, rank
from rwkv_rag.interfaces import Knowledge, SearchStage

STAGES: tuple[SearchStage, ...] = get_args(SearchStage)
DEPTH = 10
_CHUNKS = 30  # a long passage may take several places, so more chunks than documents are asked for


def ranks(
    rows: Sequence[Row],
    knowledge: Knowledge,
    step: Callable[[], None],
    *,
    stages: Sequence[SearchStage] = STAGES,
) -> Mapping[SearchStage, list[int | None]]:
    """For every stage the rank of each answerable question's passage among the documents found."""
    found: dict[SearchStage, list[int | None]] = {stage: [] for stage in stages}
    for row in (row for row in rows if row.answerable):
        name = document(row).name
        for stage in stages:
            hits = knowledge.search(BASE, row.question, top_k=_CHUNKS, stage=stage)
            found[stage].append(rank(hits, name))
        step()
    return found


def figures(found: Sequence[int | None]) -> dict[str, float]:
    """hit@1, hit@5, hit@10 and MRR@10 of the ranks of one stage."""
    return {
        **{f"hit@{k}": round(hit_at(found, k), 4) for k in (1, 5, DEPTH)},
        f"mrr@{DEPTH}": round(mrr_at(found, DEPTH), 4),
    }
