"""What a vector index does: one Protocol, several implementations. Knows no text and no catalog.

Every index is derived: it can be dropped and filled again from the catalog at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Scored = tuple[int, float]  # chunk row id, cosine


class VectorStore(Protocol):
    """Collections of unit-length float32 vectors by integer id."""

    def create(self, collection: str, dimension: int) -> None:
        """Make an empty collection; one that exists is kept."""

    def upsert(self, collection: str, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Add or overwrite; `vectors` is (len(ids), dimension)."""

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        """Remove; unknown ids are no error."""

    def query(self, collection: str, vector: NDArray[np.float32], top_k: int) -> list[Scored]:
        """The nearest by cosine, best first; `vector` is (dimension,)."""

    def ids(self, collection: str) -> set[int]:
        """All ids of a collection."""

    def count(self, collection: str) -> int:
        """How many vectors a collection holds; 0 when it does not exist."""

    def collections(self) -> list[str]:
        """The names of all collections."""

    def drop(self, collection: str) -> None:
        """Remove a collection; one that does not exist is no error."""

    def close(self) -> None:
        """Let go of files and memory."""
