"""The small differentiable heads of the roles: embed, read, rerank. Knows no templates and no data.

Parameter names are those of the shipped checkpoint under `heads.<role>.`; `encoders` runs the same
mathematics without autograd (tested against these modules).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rwkv_rag.tuning.block import HEAD_SIZE, Block, Memory, NetworkShape, inside
from rwkv_rag.tuning.network import Network


class Heads(nn.Module):
    """All heads and the initial states of the roles, trained together with one base."""

    def __init__(self, shape: NetworkShape, rerank_layers: tuple[int, ...]) -> None:
        super().__init__()
        self.embed = EmbedHead(shape.width)
        self.read = ReadHead(shape)
        self.rerank = RerankHead(shape, rerank_layers)
        zeros = torch.zeros(shape.layers, shape.heads, HEAD_SIZE, HEAD_SIZE)
        self.states = nn.ParameterDict(
            {role: nn.Parameter(zeros.clone()) for role in ("embed", "read", "rerank")}
        )


class EmbedHead(nn.Module):
    """The mean of the final hidden states, projected, to a unit vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, width, bias=False)
        nn.init.orthogonal_(self.proj.weight)

    def forward(self, base: Network, state: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """Vectors (B, C) of right-padded `ids` (B, T) that end at `lengths` with end-of-text."""
        hidden, _ = base.hidden(ids, state)
        pooled = (hidden * inside(lengths, ids.shape[1])).sum(1) / lengths[:, None]
        return F.normalize(self.proj(pooled).float(), dim=-1)


class ReadHead(nn.Module):
    """Start and end scores for every token, from two RWKV-7 blocks over the base's hidden states.

    One block reads on, the other backwards, so that every token is judged with both sides known;
    both are told where the passage meets the question (`role.matches`). Index 0 (end-of-text) has
    then seen all, and scores "not answered here".
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.match = nn.Embedding(3, shape.width)
        self.ahead, self.back = Block(shape, 0), Block(shape, 0)
        self.mix = nn.Linear(2 * shape.width, shape.width)
        self.out = nn.Linear(shape.width, 2)

    def forward(
        self, base: Network, state: Tensor, ids: Tensor, lengths: Tensor, match: Tensor
    ) -> Tensor:
        """Scores (B, T, 2): start and end of the answer, fp32; meaningless past `lengths`."""
        hidden, _ = base.hidden(ids, state)
        hidden = hidden + self.match(match)
        order = reversal(lengths, ids.shape[1])  # its own inverse
        flip = order[..., None].expand(-1, -1, hidden.shape[-1])
        size = (len(ids), self.back.att.heads, HEAD_SIZE, HEAD_SIZE)
        start = Memory.fresh(hidden.new_zeros(size, dtype=torch.float32))
        ahead, _, _ = self.ahead(hidden, None, start)
        back, _, _ = self.back(hidden.gather(1, flip), None, start)
        both = torch.cat([ahead, back.gather(1, flip)], -1)
        scores: Tensor = self.out(F.gelu(self.mix(both))).float()
        return scores


class RerankHead(nn.Module):
    """One score from the base's WKV states: a few blocks take a single step, each reading one
    layer.

    After Hou et al., "EmbeddingRWKV" (2026): the state of layer `layers[i]` is the initial state of
    block i, whose input is one learned vector.
    """

    def __init__(self, shape: NetworkShape, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = layers
        small = NetworkShape(
            len(layers),
            shape.width,
            1,
            shape.rank_w,
            shape.rank_a,
            shape.rank_v,
            shape.rank_g,
        )
        self.emb = nn.Embedding(1, shape.width)
        self.blocks = nn.ModuleList(Block(small, i) for i in range(len(layers)))
        self.ln_out = nn.LayerNorm(shape.width)
        self.fc1 = nn.Linear(shape.width, shape.width)
        self.fc2 = nn.Linear(shape.width, 1, bias=False)

    def forward(self, base: Network, state: Tensor, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B,): positive means that the document answers the query."""
        _, states = base.hidden(ids, state, lengths)
        x = self.emb.weight.expand(len(ids), 1, -1)
        v_first: Tensor | None = None
        for block, layer in zip(self.blocks, self.layers, strict=True):
            x, v_first, _ = block(x, v_first, Memory.fresh(states[layer]))
        logits: Tensor = self.fc2(torch.tanh(self.fc1(self.ln_out(x[:, 0])))).float()
        return logits[:, 0]


def reversal(lengths: Tensor, total: int) -> Tensor:
    """Indices (B, total) that reverse the first `lengths[i]` positions and leave the others."""
    position = torch.arange(total, device=lengths.device).expand(len(lengths), -1)
    mirrored = lengths[:, None] - 1 - position
    return torch.where(mirrored >= 0, mirrored, position)
