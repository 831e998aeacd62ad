"""Chroma's persistent client as a vector index. Knows no text: vectors and ids only.

Only one process may hold the directory (the caller sees to that). No server, no telemetry, no
embedding function. Importing chromadb takes a second: import this module only when it is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rwkv_rag.errors import CorruptData
from rwkv_rag.knowledge.vectors import Scored

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # chromadb's own dependencies warn at import
    import chromadb
    from chromadb.api import ClientAPI
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings
    from chromadb.errors import NotFoundError

# Chroma's default of 100 misses many of the nearest where vectors are spread evenly.
SEARCH_EFFORT = 400


class ChromaStore:
    """One Chroma collection for each of ours, in cosine space."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with self._translated():
            self._client: Any = _opened(directory)
            self._batch = int(self._client.get_max_batch_size())

    def create(self, collection: str, dimension: int) -> None:
        with self._translated():
            self._client.get_or_create_collection(
                collection,
                embedding_function=None,
                configuration={"hnsw": {"space": "cosine", "ef_search": SEARCH_EFFORT}},
            )

    def upsert(self, collection: str, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        def write(start: int) -> None:
            stop = start + self._batch
            target.upsert(ids=list(map(str, ids[start:stop])), embeddings=vectors[start:stop])

        with self._translated():
            target = self._collection(collection)
            self._batched(write, len(ids))

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        def write(start: int) -> None:
            target.delete(ids=list(map(str, ids[start : start + self._batch])))

        with self._translated():
            target = self._collection(collection)
            self._batched(write, len(ids))

    def query(self, collection: str, vector: NDArray[np.float32], top_k: int) -> list[Scored]:
        with self._translated():
            target = self._collection(collection)
            top_k = min(top_k, target.count())
            if not top_k:
                return []
            found = target.query(
                query_embeddings=vector[None], n_results=top_k, include=["distances"]
            )
        distances = found["distances"]
        assert distances is not None
        return [
            (int(i), 1.0 - float(d)) for i, d in zip(found["ids"][0], distances[0], strict=True)
        ]

    def ids(self, collection: str) -> set[int]:
        with self._translated():
            return set(map(int, self._collection(collection).get(include=[])["ids"]))

    def count(self, collection: str) -> int:
        with self._translated():
            try:
                return int(self._collection(collection).count())
            except NotFoundError:
                return 0

    def collections(self) -> list[str]:
        with self._translated():
            return [collection.name for collection in self._client.list_collections()]

    def drop(self, collection: str) -> None:
        with self._translated():
            try:
                self._client.delete_collection(collection)
            except NotFoundError:
                return

    def close(self) -> None:
        self._client.close()

    def _collection(self, name: str) -> Any:
        return self._client.get_collection(name, embedding_function=None)

    def _batched(self, write: Callable[[int], None], total: int) -> None:
        for start in range(0, total, self._batch):
            write(start)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (AssertionError, TypeError):
            raise  # our mistakes
        except BaseException as error:
            # Its Rust part panics with exceptions that are no `Exception`.
            if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
                raise
            raise CorruptData(
                "the vector index in {directory} cannot be used ({reason}); it is derived "
                "data: delete that directory and it is built again",
                directory=self._directory,
                reason=error,
            ) from error


def _opened(directory: Path) -> ClientAPI:
    try:
        return chromadb.PersistentClient(
            path=str(directory), settings=Settings(anonymized_telemetry=False)
        )
    except BaseException:
        # A client that failed to open stays cached under its path and would fail for ever.
        SharedSystemClient.clear_system_cache()
        raise
