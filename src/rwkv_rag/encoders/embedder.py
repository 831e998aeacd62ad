"""The embed role: unit vectors from what tokens mean alone and from what the base read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import normalize

from rwkv_rag.encoders.base import Base
from rwkv_rag.rwkv.role import QUERY_TOKENS, embed_ids
from rwkv_rag.types import EmbeddingModel

DOCUMENT_TOKENS = 256
BATCH_TOKENS = 4096


class RwkvEmbedder:
    """Implements `interfaces.Embedder` on a base. A text counts with its first 256 tokens."""

    def __init__(self, base: Base) -> None:
        self._base = base
        projection = base.weight("embed.proj.weight")
        self._project = projection / projection.shape[1] ** 0.5
        self._words = base.weight("embed.words.weight")
        self._weights = base.weight("embed.importance.weight")[:, 0].exp()
        self._model = EmbeddingModel(
            id=base.id,
            dimension=len(self._project),
            fusion_weight=base.manifest.fusion_weight,
            similarity_floor=base.manifest.similarity_floor,
        )

    @property
    def model(self) -> EmbeddingModel:
        return self._model

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, DOCUMENT_TOKENS)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts, QUERY_TOKENS)

    def _embed(self, texts: Sequence[str], limit: int) -> NDArray[np.float32]:
        ids = [embed_ids(self._base.tokenizer.encode(text), limit) for text in texts]
        vectors = np.empty((len(texts), self._model.dimension), np.float32)
        for rows in batches([len(x) for x in ids], BATCH_TOKENS):
            state = self._base.state("embed", len(rows))
            output = self._base.model.forward(
                [ids[i] for i in rows], state, hidden=True, logits=False
            )
            for row, hidden in zip(rows, output.hidden, strict=True):
                weights = self._weights[ids[row]]
                meant, read = weights @ self._words[ids[row]], weights @ hidden
                vectors[row] = normalize(meant + self._project @ read, dim=0).numpy()
        return vectors


def batches(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Numbers of items in groups of at most `limit` tokens together; a longer item stands alone."""
    groups: list[list[int]] = []
    room = 0
    for number, length in enumerate(lengths):
        if not groups or length > room:
            groups.append([])
            room = limit
        groups[-1].append(number)
        room -= length
    return groups
