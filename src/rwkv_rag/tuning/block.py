"""The blocks of RWKV-7 (x070), differentiable, with the official names for their parameters.

`TimeMix.forward` and `ChannelMix.forward` are the mathematics of the model. Knows one layer at a
time, neither embeddings nor heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rwkv_rag.rwkv.layout import Shape
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
    ffn: int = 0

    def __post_init__(self) -> None:
        if not self.ffn:
            object.__setattr__(self, "ffn", 4 * self.width)

    @classmethod
    def of(cls, shape: Shape) -> NetworkShape:
        """The sizes of a checkpoint."""
        ranks = (shape.rank_w, shape.rank_a, shape.rank_v, shape.rank_g)
        return cls(shape.layers, shape.width, shape.vocab, *ranks, ffn=shape.ffn)

    @property
    def heads(self) -> int:
        return self.width // HEAD_SIZE


class Memory(NamedTuple):
    """What one layer carries from segment to segment: as `State`, of one layer."""

    wkv: Tensor  # (B, H, N, N), fp32
    att_shift: Tensor  # (B, C)
    ffn_shift: Tensor  # (B, C)

    @classmethod
    def fresh(cls, wkv: Tensor) -> Memory:
        """That of rows which have read nothing and start from `wkv`."""
        zeros = wkv.new_zeros(wkv.shape[0], wkv.shape[1] * wkv.shape[2])
        return cls(wkv, zeros, zeros)


class TimeMix(nn.Module):
    """The attention-like half of a block. Parameter names and shapes are the official ones."""

    time_state: nn.Parameter | None

    def __init__(self, shape: NetworkShape, layer: int) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.heads
        self.matrices = torch.float32
        self.register_parameter("time_state", None)
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
        r = self.receptance(self._in(h + d * self.x_r))
        w = self.w0 + _product(torch.tanh(_product(h + d * self.x_w, self.w1)), self.w2)
        k = self.key(self._in(h + d * self.x_k))
        x_v = h + d * self.x_v
        v = self.value(self._in(x_v))
        if v_first is None:
            v_first = v
        else:
            mix = self.v0 + _product(_product(x_v, self.v1), self.v2)
            v = v + (v_first - v) * torch.sigmoid(mix)
        a = torch.sigmoid(self.a0 + _product(_product(h + d * self.x_a, self.a1), self.a2))
        g = _product(torch.sigmoid(_product(h + d * self.x_g, self.g1)), self.g2)

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
        y = self._in((y + bonus.view(batch, length, width)) * g)
        return self.output(y), v_first, state

    def _in(self, x: Tensor) -> Tensor:
        """`x` in the type of the big matrices, which may be packed or wrapped."""
        return x.to(self.matrices)


class ChannelMix(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, shape: NetworkShape, layer: int) -> None:
        super().__init__()
        width = shape.width
        self.matrices = torch.float32
        falling = 1 - layer / shape.layers
        self.x_k = _row(1 - (torch.arange(width) / width) ** (falling**4))
        self.key = _linear(width, shape.ffn, 0.5 * width**-0.5)
        self.value = _linear(shape.ffn, width, 0.0)

    def forward(self, h: Tensor, previous: Tensor) -> Tensor:
        k = self.key((h + (previous - h) * self.x_k).to(self.matrices))
        hidden: Tensor = self.value(torch.relu(k) ** 2)
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
        self, x: Tensor, v_first: Tensor | None, memory: Memory, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Memory]:
        """Stream (B, T, C), layer-0 values and what the layer remembers afterwards.

        With `lengths` (B,) the memory is that after each row's last token.
        """
        if v_first is None:
            x = self.ln0(x)
        keep = None if lengths is None else inside(lengths, x.shape[1])
        h = self.ln1(x)
        before, att_shift = _shift(h, memory.att_shift, lengths)
        mixed, v_first, wkv = self.att(h, before, v_first, memory.wkv, keep)
        x = x + mixed
        h = self.ln2(x)
        before, ffn_shift = _shift(h, memory.ffn_shift, lengths)
        return x + self.ffn(h, before), v_first, Memory(wkv, att_shift, ffn_shift)


def inside(lengths: Tensor, total: int) -> Tensor:
    """1 where a position lies inside its row, else 0: (B, total, 1)."""
    position = torch.arange(total, device=lengths.device)
    return (position < lengths[:, None]).float()[..., None]


def _shift(h: Tensor, last: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """`h` moved on by one position behind `last` (B, C), and each row's own last position."""
    together = torch.cat([last[:, None].to(h.dtype), h], 1)
    if lengths is None:
        return together[:, :-1], together[:, -1]
    place = lengths[:, None, None].expand(-1, 1, h.shape[-1])
    return together[:, :-1], together.gather(1, place)[:, 0]


def _product(x: Tensor, matrix: Tensor) -> Tensor:
    return x.to(matrix.dtype) @ matrix


def _row(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.float().reshape(1, 1, -1))


def _linear(inputs: int, outputs: int, bound: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.uniform_(layer.weight, -bound, bound)
    return layer


def _low_rank(width: int, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    up = nn.init.orthogonal_(torch.empty(rank, width), gain=0.1 * max(1.0, (rank / width) ** 0.5))
    return nn.Parameter(torch.zeros(width, rank)), nn.Parameter(up)
