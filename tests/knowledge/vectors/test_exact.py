from __future__ import annotations

import numpy as np

from rwkv_rag.knowledge.vectors.exact import ExactStore


def test_equal_scores_are_ordered_by_id() -> None:
    store = ExactStore()
    store.create("kb-1", 2)
    store.upsert("kb-1", [9, 3, 5, 1], np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32))
    found = store.query("kb-1", np.array([1, 0], np.float32), 3)
    assert found == [(3, 1.0), (5, 1.0), (9, 1.0)]
