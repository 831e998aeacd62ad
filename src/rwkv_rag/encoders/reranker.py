"""The rerank role: a few blocks take one step in the states the base has after document and query.

The document stands first, so its state could be computed once and kept; now it is read each time.
Method: Hou et al., "EmbeddingRWKV" (2026).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch.nn.functional import layer_norm, linear

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.embedder import batches
from rwkv_rag.rwkv.block import Packing
from rwkv_rag.rwkv.role import rerank_ids
from rwkv_rag.rwkv.state import State

DOCUMENT_TOKENS = 256
BATCH_TOKENS = 4096


class RwkvReranker:
    """Implements `interfaces.Reranker` on a base."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._layers: list[int] = json.loads(base.metadata.get("rerank_layers", "[]"))
        self._blocks = [base.block(f"rerank.blocks.{i}.") for i in range(len(self._layers))]
        names = ("ln_out.weight", "ln_out.bias", "fc1.weight", "fc1.bias", "fc2.weight")
        self._ln, self._ln_bias, self._fc1, self._fc1_bias, self._fc2 = (
            base.weight(f"rerank.{name}") for name in names
        )
        self._start = base.weight("rerank.emb.weight")

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score in 0..1 for each text: how sure it is that the text answers the query."""
        asked = self._base.tokenizer.encode(query)
        ids = [
            rerank_ids(self._base.tokenizer.encode(t), self._base.newline, asked, DOCUMENT_TOKENS)
            for t in texts
        ]
        scores: list[float] = []
        for rows in batches([len(x) for x in ids], BATCH_TOKENS):
            state = self._base.state("rerank", len(rows))
            output = self._base.model.forward([ids[i] for i in rows], state, logits=False)
            scores += self._judge(output.state)
        return scores

    def _judge(self, state: State) -> list[float]:
        size, width = state.batch, self._start.shape[1]
        packing = Packing([1] * size)
        x, v_first = self._start.expand(size, -1).contiguous(), None
        with torch.no_grad():
            for block, layer in zip(self._blocks, self._layers, strict=True):
                shifts = torch.zeros(2, size, width)
                wkv = state.wkv[layer].contiguous()
                x, v_first = block.forward(x, packing, v_first, wkv, shifts[0], shifts[1])
            x = layer_norm(x, (width,), self._ln, self._ln_bias)
            logits = linear(torch.tanh(linear(x, self._fc1, self._fc1_bias)), self._fc2)
            scores: list[float] = torch.sigmoid(logits[:, 0]).tolist()
        return scores
