"""Exact search in memory with numpy: the reference for every other index. Knows no file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rwkv_rag.knowledge.vectors import Scored


class ExactStore:
    """Brute force over a matrix a collection."""

    def __init__(self) -> None:
        self._ids: dict[str, NDArray[np.int64]] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}  # (n, dimension)

    def create(self, collection: str, dimension: int) -> None:
        if collection not in self._ids:
            self._ids[collection] = np.empty(0, np.int64)
            self._vectors[collection] = np.empty((0, dimension), np.float32)

    def upsert(self, collection: str, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        self.delete(collection, ids)
        self._ids[collection] = np.concatenate([self._ids[collection], np.array(ids, np.int64)])
        self._vectors[collection] = np.concatenate([self._vectors[collection], vectors])

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        kept = ~np.isin(self._ids[collection], np.array(ids, np.int64))
        self._ids[collection] = self._ids[collection][kept]
        self._vectors[collection] = self._vectors[collection][kept]

    def query(self, collection: str, vector: NDArray[np.float32], top_k: int) -> list[Scored]:
        scores = self._vectors[collection] @ vector
        if top_k < len(scores):
            best = np.argpartition(-scores, top_k)[:top_k]
        else:
            best = np.arange(len(scores))
        # Equal scores by id, so that the same question always gets the same list.
        order = best[np.lexsort((self._ids[collection][best], -scores[best]))]
        return [(int(self._ids[collection][i]), float(scores[i])) for i in order]

    def ids(self, collection: str) -> set[int]:
        return {int(i) for i in self._ids[collection]}

    def count(self, collection: str) -> int:
        return len(self._ids.get(collection, ()))

    def collections(self) -> list[str]:
        return list(self._ids)

    def drop(self, collection: str) -> None:
        self._ids.pop(collection, None)
        self._vectors.pop(collection, None)

    def close(self) -> None:
        self._ids.clear()
        self._vectors.clear()
