"""RWKV-7 (x070) as a differentiable network whose `state_dict` is a checkpoint in the official
layout.

Equal to `rwkv.reference` up to rounding (tested). Batches are right-padded rectangles: padding
comes after the text, so it cannot reach it. The stream between blocks is fp32 whatever type the
matrices have. Knows no data, losses or optimisers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recomputed

from rwkv_rag.rwkv.checkpoint import Checkpoint
from rwkv_rag.rwkv.layout import HEAD_SIZE, Shape
from rwkv_rag.rwkv.state import State
from rwkv_rag.tuning.wkv import wkv7

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
        r = self.receptance(self._in(torch.addcmul(h, d, self.x_r)))
        w = self.w0 + _product(
            torch.tanh(_product(torch.addcmul(h, d, self.x_w), self.w1)), self.w2
        )
        k = self.key(self._in(torch.addcmul(h, d, self.x_k)))
        x_v = torch.addcmul(h, d, self.x_v)
        v = self.value(self._in(x_v))
        if v_first is None:
            v_first = v
        else:
            mix = self.v0 + _product(_product(x_v, self.v1), self.v2)
            v = v + (v_first - v) * torch.sigmoid(mix)
        a = torch.sigmoid(
            self.a0 + _product(_product(torch.addcmul(h, d, self.x_a), self.a1), self.a2)
        )
        g = _product(torch.sigmoid(_product(torch.addcmul(h, d, self.x_g), self.g1)), self.g2)

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
        k = self.key(torch.lerp(h, previous, self.x_k).to(self.matrices))
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


class Network(nn.Module):
    """The whole model. `tied` shares the embedding table with the output head.

    With `checkpointing` a backward pass computes each block again instead of keeping what is
    inside: less memory for a third more time.
    """

    def __init__(self, shape: NetworkShape, *, tied: bool = False) -> None:
        super().__init__()
        self.shape, self.checkpointing = shape, False
        self._tuned: dict[str, Tensor] = {}
        self.emb = nn.Embedding(shape.vocab, shape.width)
        nn.init.normal_(self.emb.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(shape, layer) for layer in range(shape.layers))
        self.ln_out = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocab, bias=False)
        if tied:
            self.head.weight = self.emb.weight

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, *, matrices: torch.dtype = torch.float32
    ) -> Network:
        """The network of a model file, of which nothing trains yet.

        Matrices are held in `matrices` and share the file's mapped memory where it has that type;
        vectors are fp32. A head that is the embedding table in the file is so here, and reading
        begins with the time states that the file has.
        """
        with torch.device("meta"):
            network = cls(NetworkShape.of(checkpoint.shape))
        network._fill(checkpoint, matrices)
        emb, head = (checkpoint.tensors[f"{name}.weight"] for name in ("emb", "head"))
        if emb.data_ptr() == head.data_ptr():
            network.head.weight = network.emb.weight
        for block in network.layers():
            block.att.matrices = block.ffn.matrices = matrices
        network._tuned = {n: t for n, t in checkpoint.extras.items() if n.endswith("time_state")}
        if network._tuned:  # the model begins to read there, whatever of it trains
            network.add_time_states()
        return network.requires_grad_(False)

    def layers(self) -> list[Block]:
        """The blocks from the bottom to the top."""
        return cast("list[Block]", list(self.blocks))

    def _fill(self, checkpoint: Checkpoint, matrices: torch.dtype) -> None:
        tensors = {}
        for name, wanted in self.state_dict().items():
            vector = wanted.numel() == max(wanted.shape) or name.endswith("r_k")
            tensor = checkpoint.tensors[name].reshape(wanted.shape)
            tensors[name] = tensor.to(torch.float32 if vector else matrices)
        self.load_state_dict(tensors, assign=True)

    def add_time_states(self) -> list[nn.Parameter]:
        """Add `blocks.{i}.att.time_state` (H, V, K), trainable: what every row then starts from.

        They begin as those of the checkpoint, or as zeros, which change nothing.
        """
        added = []
        for layer, block in enumerate(self.layers()):
            start = self._zeros()
            if (kept := self._tuned.get(f"blocks.{layer}.att.time_state")) is not None:
                start.copy_(kept)
            block.att.time_state = nn.Parameter(start)
            added.append(block.att.time_state)
        return added

    def hidden(
        self, ids: Tensor, state: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Final hidden states (B, T, C) after `ln_out` and each layer's WKV state (B, H, N, N).

        `state` is the initial WKV state of every row (L, H, N, N) or of each (L, B, H, N, N); the
        time states if None, zeros where there are none. With `lengths` (B,) the returned states
        are those after each row's last token: padding behind it is not read.
        """
        hidden, memories = self._through(ids, self._start(state, len(ids)), lengths)
        return hidden, [memory.wkv for memory in memories]

    def read(
        self, ids: Tensor, carry: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Final hidden states (B, T, C) of the next segment, and the state to carry on with.

        Segment after segment equals reading all at once; gradients pass too unless the caller
        detaches the state. Rows that end within `lengths` keep the state of their
        last token, those of length 0 that which they came with.
        """
        if carry is None:
            start = self._start(None, len(ids))
        else:
            fields = (carry.wkv, carry.att_shift, carry.ffn_shift)
            start = [Memory(*layer) for layer in zip(*fields, strict=True)]
        hidden, memories = self._through(ids, start, lengths)
        return hidden, State(*(torch.stack(parts) for parts in zip(*memories, strict=True)))

    def _through(
        self, ids: Tensor, start: Sequence[Memory], lengths: Tensor | None
    ) -> tuple[Tensor, list[Memory]]:
        x = self.emb(ids).float()
        v_first: Tensor | None = None
        after = []
        for block, memory in zip(self.blocks, start, strict=True):
            if self.checkpointing and torch.is_grad_enabled():
                given = (block, x, v_first, memory, lengths)
                x, v_first, memory = recomputed(*given, use_reentrant=False)
            else:
                x, v_first, memory = block(x, v_first, memory, lengths)
            after.append(memory)
        return self.ln_out(x), after

    def _start(self, state: Tensor | None, batch: int) -> list[Memory]:
        states: Sequence[Tensor | None] = (
            [block.att.time_state for block in self.layers()] if state is None else list(state)
        )
        return [Memory.fresh(self._rows(wkv, batch)) for wkv in states]

    def _rows(self, wkv: Tensor | None, batch: int) -> Tensor:
        wkv = self._zeros() if wkv is None else wkv
        return wkv if wkv.ndim == 4 else wkv.expand(batch, -1, -1, -1)

    def _zeros(self) -> Tensor:
        size = (self.shape.heads, HEAD_SIZE, HEAD_SIZE)
        return torch.zeros(size, device=self.ln_out.weight.device)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits (B, T, vocab)."""
        hidden = self.hidden(ids)[0]
        logits: Tensor = self.head(hidden.to(self.head.weight.dtype))
        return logits


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
