"""RWKV-7 (x070) as a differentiable network whose `state_dict` is a checkpoint in the official
layout.

Equal to `rwkv.reference` up to rounding (tested). Batches are right-padded rectangles: padding
comes after the text, so it cannot reach it. Knows no data, losses or optimisers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rwkv_rag.tuning.wkv import wkv7

HEAD_SIZE = 64
DECAY_SCALE = -math.exp(-0.5)


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Sizes of a network; the low-rank sizes follow the released models where they are not
    given.
    """

    layers: int
    width: int
    vocab: int
    rank_w: int = 64
    rank_a: int = 64
    rank_v: int = 32
    rank_g: int = 128

    @property
    def heads(self) -> int:
        return self.width // HEAD_SIZE


class TimeMix(nn.Module):
    """The attention-like half of a block. Parameter names and shapes are the official ones."""

    def __init__(self, shape: NetworkShape, layer: int) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.heads
        depth = layer / max(1, shape.layers - 1)  # 0 at the bottom, 1 at the top
        falling = 1 - layer / shape.layers
        channel = torch.arange(width) / width
        zigzag = torch.linspace(-1, 1, HEAD_SIZE).repeat(shape.heads)
        zigzag = zigzag * zigzag.abs()

        powers = (0.2, 0.9, 0.7, 0.7, 0.9, 0.2)
        self.x_r, self.x_w, self.x_k, self.x_v, self.x_a, self.x_g = (
            _row(1 - channel ** (power * falling)) for power in powers
        )
        ramp = torch.arange(width) / max(1, width - 1)
        self.w0 = _row(-6 + 6 * ramp ** (1 + depth**0.3) + 0.5 + 2.5 * zigzag)
        self.w1, self.w2 = _low_rank(width, shape.rank_w)
        self.a0 = _row(-0.19 + 0.3 * zigzag + 0.4 * (ramp - 0.5))
        self.a1, self.a2 = _low_rank(width, shape.rank_a)
        if layer:
            self.v0 = _row(0.73 - 0.4 * (ramp - 0.5))
            self.v1, self.v2 = _low_rank(width, shape.rank_v)
        self.g1, self.g2 = _low_rank(width, shape.rank_g)
        self.k_k = _row(0.71 - 0.1 * (ramp - 0.5))
        self.k_a = _row(torch.full((width,), 1.02))
        self.r_k = nn.Parameter(torch.full((shape.heads, HEAD_SIZE), -0.04))
        bound = width**-0.5
        self.receptance = _linear(width, width, 0.5 * bound)
        self.key = _linear(width, width, 0.05 * bound)
        self.value = _linear(width, width, 0.5 * bound)
        self.output = _linear(width, width, 0.0)
        self.ln_x = nn.GroupNorm(shape.heads, width, eps=64e-5)
        nn.init.constant_(self.ln_x.weight, ((1 + layer) / shape.layers) ** 0.7)

    def forward(
        self,
        h: Tensor,
        previous: Tensor,
        v_first: Tensor | None,
        state: Tensor,
        keep: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Output (B, T, C), values of layer 0 (B, T, C) and WKV state (B, H, N, N) after the batch.

        `previous` is `h` shifted by one position: the token before each. `v_first` is None in
        layer 0.
        """
        batch, length, width = h.shape
        d = previous - h
        r = self.receptance(h + d * self.x_r)
        w = self.w0 + torch.tanh((h + d * self.x_w) @ self.w1) @ self.w2
        k = self.key(h + d * self.x_k)
        x_v = h + d * self.x_v
        v = self.value(x_v)
        if v_first is None:
            v_first = v
        else:
            v = v + (v_first - v) * torch.sigmoid(self.v0 + x_v @ self.v1 @ self.v2)
        a = torch.sigmoid(self.a0 + (h + d * self.x_a) @ self.a1 @ self.a2)
        g = torch.sigmoid((h + d * self.x_g) @ self.g1) @ self.g2

        heads = (batch, length, self.heads, HEAD_SIZE)
        kk = F.normalize((k * self.k_k).view(heads).float(), dim=-1, eps=1e-12)
        k = (k * (1 + (a - 1) * self.k_a)).view(heads)
        r, v_heads, a = r.view(heads), v.view(heads), a.view(heads)
        log_w = DECAY_SCALE * torch.sigmoid(w.float()).view(heads)
        write, forget = k, kk * a
        if keep is not None:
            log_w, write, forget = (x * keep[..., None] for x in (log_w, write, forget))
        y, state = wkv7(r, log_w, write, v_heads, -kk, forget, state)
        y = self.ln_x(y.reshape(-1, width)).view(batch, length, width)
        bonus = (r * k * self.r_k).sum(-1, keepdim=True) * v_heads
        return self.output((y + bonus.view(batch, length, width)) * g), v_first, state


class ChannelMix(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, shape: NetworkShape, layer: int) -> None:
        super().__init__()
        width = shape.width
        falling = 1 - layer / shape.layers
        self.x_k = _row(1 - (torch.arange(width) / width) ** (falling**4))
        self.key = _linear(width, 4 * width, 0.5 * width**-0.5)
        self.value = _linear(4 * width, width, 0.0)

    def forward(self, h: Tensor, previous: Tensor) -> Tensor:
        hidden: Tensor = self.value(torch.relu(self.key(h + (previous - h) * self.x_k)) ** 2)
        return hidden


class Block(nn.Module):
    """One layer: time mix and channel mix, each after a layer norm and added to the stream."""

    def __init__(self, shape: NetworkShape, layer: int) -> None:
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(shape.width)
        self.ln1 = nn.LayerNorm(shape.width)
        self.ln2 = nn.LayerNorm(shape.width)
        self.att = TimeMix(shape, layer)
        self.ffn = ChannelMix(shape, layer)

    def forward(
        self, x: Tensor, v_first: Tensor | None, state: Tensor, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Stream (B, T, C), layer-0 values and WKV state; token shift starts from zeros.

        Positions where `keep` (B, T, 1) is 0 leave the WKV state as it is.
        """
        if v_first is None:
            x = self.ln0(x)
        h = self.ln1(x)
        mixed, v_first, state = self.att(h, _shift(h), v_first, state, keep)
        x = x + mixed
        h = self.ln2(x)
        return x + self.ffn(h, _shift(h)), v_first, state


class Network(nn.Module):
    """The whole model. `tied` shares the embedding table with the output head."""

    def __init__(self, shape: NetworkShape, *, tied: bool = False) -> None:
        super().__init__()
        self.shape = shape
        self.emb = nn.Embedding(shape.vocab, shape.width)
        nn.init.normal_(self.emb.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.ln_out = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocab, bias=False)
        if tied:
            self.head.weight = self.emb.weight

    def hidden(
        self, ids: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Final hidden states (B, T, C) after `ln_out` and each layer's WKV state (B, H, N, N).

        `state` (L, H, N, N) is an initial WKV state for every row, zeros if None. With `lengths`
        (B,)
        the returned states are those after each row's last token: padding behind it is not read.
        """
        x = self.emb(ids)
        v_first: Tensor | None = None
        keep = None if lengths is None else inside(lengths, ids.shape[1])
        states = []
        for layer, block in enumerate(self.blocks):
            start = (
                self._start(x, len(ids))
                if state is None
                else state[layer].expand(len(ids), -1, -1, -1)
            )
            x, v_first, end = block(x, v_first, start, keep)
            states.append(end)
        return self.ln_out(x), states

    def _start(self, x: Tensor, batch: int) -> Tensor:
        size = (batch, self.shape.heads, HEAD_SIZE, HEAD_SIZE)
        return x.new_zeros(size, dtype=torch.float32)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, vocab)."""
        logits: Tensor = self.head(self.hidden(ids)[0])
        return logits


def inside(lengths: Tensor, total: int) -> Tensor:
    """1 where a position lies inside its row, else 0: (B, total, 1)."""
    position = torch.arange(total, device=lengths.device)
    return (position < lengths[:, None]).float()[..., None]


def _shift(h: Tensor) -> Tensor:
    return F.pad(h, (0, 0, 1, -1))


def _row(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.float().reshape(1, 1, -1))


def _linear(inputs: int, outputs: int, bound: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.uniform_(layer.weight, -bound, bound)
    return layer


def _low_rank(width: int, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    up = nn.init.orthogonal_(torch.empty(rank, width), gain=0.1 * max(1.0, (rank / width) ** 0.5))
    return nn.Parameter(torch.zeros(width, rank)), nn.Parameter(up)
