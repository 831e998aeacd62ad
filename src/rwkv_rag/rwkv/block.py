"""One RWKV-7 block over packed sequences, fast: the piece that models and heads are made of.

Sequences lie one after another without padding. Equal to `reference` but for rounding; knows
neither embeddings nor the LM head. An adapted block shares the weights of the one it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np
import torch
from torch.nn.functional import layer_norm

from rwkv_rag.rwkv.adapter import Adapter
from rwkv_rag.rwkv.kernels import wkv as loops
from rwkv_rag.rwkv.kernels.threads import spread
from rwkv_rag.rwkv.linear import Adapted, Pair, Stack, as_array

_LN0 = ("ln0.weight", "ln0.bias")
_NORMS = (("ln1.weight", "ln1.bias"), ("ln2.weight", "ln2.bias"))
_TIME_MIXES = tuple(f"att.x_{name}" for name in "rwkvag")
_CHANNEL_MIXES = ("ffn.x_k",)


class Packing:
    """Where each sequence of a packed batch begins and ends."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)  # (B + 1,)
        self.total = int(self.starts[-1])

    @property
    def last(self) -> torch.Tensor:
        """Row of the last token of each sequence."""
        return torch.from_numpy(self.starts[1:] - 1)

    def tail(self) -> tuple[list[int], Packing]:
        """Rows that the last outputs need: two of each sequence, since a token sees one back."""
        lengths = [min(2, length) for length in self.lengths]
        ends = zip(self.starts[1:].tolist(), lengths, strict=True)
        rows = [row for end, length in ends for row in range(end - length, end)]
        return rows, Packing(lengths)


class Block:
    """A block's weights, from `tensors` whose names begin with `prefix` ("blocks.3.").

    A block without `att.v0` is a first block: its values are what later ones mix in.
    """

    def __init__(
        self, tensors: Mapping[str, torch.Tensor], prefix: str, dtype: torch.dtype = torch.float32
    ) -> None:
        z = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        self.dtype = dtype
        self.mixes_values = "att.v0" in z
        self.ln0 = _rows(z, *_LN0) if _LN0[0] in z else None
        self._norms = [_array(z, *names) for names in _NORMS]
        self._time_mixes = _array(z, *_TIME_MIXES)
        self._channel_mixes = _array(z, *_CHANNEL_MIXES)
        vectors = _rows(z, *self._vector_names)
        self._vectors = as_array(vectors.view(len(vectors), -1, loops.HEAD_SIZE))  # (8, H, N)
        into = self._into_names
        # Inputs are numbered as the mixes are: r w k v a g.
        sources = [0, 2, 3, *("rwkvag".index(name[-2]) for name in into[3:])]
        self._into: Stack | Adapted = Stack([_matrix(z, n) for n in into], sources, dtype)
        self._ups: list[Stack | Adapted] = [_stack(z, name, dtype) for name in self._up_names]
        self._out: Stack | Adapted = _stack(z, "att.output.weight", dtype)
        self._key: Stack | Adapted = _stack(z, "ffn.key.weight", dtype)
        self._value: Stack | Adapted = _stack(z, "ffn.value.weight", dtype)

    @property
    def _vector_names(self) -> tuple[str, ...]:
        v0 = "v0" if self.mixes_values else "a0"  # which nobody reads then
        names = ("w0", "a0", v0, "k_k", "k_a", "r_k", "ln_x.weight", "ln_x.bias")
        return tuple(f"att.{name}" for name in names)

    @property
    def _into_names(self) -> list[str]:
        projections = [f"att.{name}.weight" for name in ("receptance", "key", "value")]
        return projections + [f"att.{name}1" for name in self._ranks]

    @property
    def _up_names(self) -> list[str]:
        return [f"att.{name}2" for name in self._ranks]

    @property
    def _ranks(self) -> str:
        return "wavg" if self.mixes_values else "wag"

    def adapted(self, adapter: Adapter, prefix: str) -> Block:
        """This block changed by what `adapter` says of tensors whose names begin with `prefix`.

        Weights are shared; the pairs, and vectors that change, are all the memory it takes.
        """

        def stacks(stack: Stack | Adapted, *names: str) -> Stack | Adapted:
            assert isinstance(stack, Stack), "adapted already; adapt the model it was made from"
            return stack.adapted([_pair(adapter, prefix + name) for name in names])

        def rows(array: loops.Array, names: Sequence[str]) -> loops.Array:
            return _moved(array, [adapter.deltas.get(prefix + name) for name in names])

        block = copy(self)
        block._into = stacks(self._into, *self._into_names)
        ups = zip(self._ups, self._up_names, strict=True)
        block._ups = [stacks(stack, name) for stack, name in ups]
        block._out = stacks(self._out, "att.output.weight")
        block._key = stacks(self._key, "ffn.key.weight")
        block._value = stacks(self._value, "ffn.value.weight")
        if self.ln0 is not None:
            block.ln0 = torch.from_numpy(rows(self.ln0.numpy(), _LN0))
        block._norms = [rows(*norm) for norm in zip(self._norms, _NORMS, strict=True)]
        block._time_mixes = rows(self._time_mixes, _TIME_MIXES)
        block._channel_mixes = rows(self._channel_mixes, _CHANNEL_MIXES)
        block._vectors = rows(self._vectors, self._vector_names)
        return block

    @property
    def stacks(self) -> list[Stack | Adapted]:
        """All matrices, as they lie in memory."""
        return [self._into, *self._ups, self._out, self._key, self._value]

    def forward(
        self,
        x: torch.Tensor,
        packing: Packing,
        v_first: torch.Tensor | None,
        wkv: torch.Tensor,
        att_shift: torch.Tensor,
        ffn_shift: torch.Tensor,
        *,
        tail: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The block's output and the first block's values, for x (T, C) in fp32.

        The states wkv (B, H, V, K), att_shift and ffn_shift (B, C), in fp32 and contiguous, are
        updated in place. x is not changed. With `tail` the output holds only the rows that
        `packing.tail` keeps, of which the last of each sequence is right: nobody reads the others
        of a last block, and its channel mix is two thirds of its work.
        """
        if self.ln0 is not None:
            x = layer_norm(x, x.shape[1:], self.ln0[0], self.ln0[1])
        out, v_first = self._time_mix(x, packing, v_first, wkv, att_shift)
        x = x + out
        if tail:
            rows, packing = packing.tail()
            x = x[rows]
        return x.add_(self._channel_mix(x, packing, ffn_shift)), v_first

    def _time_mix(
        self,
        x: torch.Tensor,
        packing: Packing,
        v_first: torch.Tensor | None,
        state: torch.Tensor,
        shift: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mixed = self._shifted(x, packing, self._norms[0], self._time_mixes, shift)
        r, k, v, *lows = self._into(mixed)
        lows[0] = lows[0].tanh()
        lows[-1] = lows[-1].sigmoid()
        ups = [up(low[None].contiguous())[0] for up, low in zip(self._ups, lows, strict=True)]
        w, a, g = ups[0], ups[1], ups[-1]
        mix = ups[2] if self.mixes_values else a
        v_first = v if v_first is None or not self.mixes_values else v_first
        y = torch.empty(x.shape, dtype=self.dtype)
        spread(x.numel() * 6 * loops.HEAD_SIZE)
        loops.wkv(
            tuple(self._by_head(part) for part in (r, k, v, w, a, mix, g)),
            self._by_head(v_first),
            self.mixes_values,
            self._vectors,
            as_array(state),
            packing.starts,
            self._by_head(y),
        )
        return self._out(y[None])[0], v_first

    def _by_head(self, x: torch.Tensor) -> loops.Array:
        """(T, C) -> (T, H, N), the same memory."""
        return as_array(x.view(len(x), -1, loops.HEAD_SIZE))

    def _channel_mix(self, x: torch.Tensor, packing: Packing, shift: torch.Tensor) -> torch.Tensor:
        mixed = self._shifted(x, packing, self._norms[1], self._channel_mixes, shift)
        hidden = self._key(mixed)[0]
        spread(hidden.numel())
        loops.square_relu(as_array(hidden))
        return self._value(hidden[None])[0]

    def _shifted(
        self,
        x: torch.Tensor,
        packing: Packing,
        norm: loops.Array,
        mixes: loops.Array,
        shift: torch.Tensor,
    ) -> torch.Tensor:
        out = torch.empty(len(mixes), *x.shape, dtype=self.dtype)
        normed = np.empty(x.shape, np.float32)
        spread(x.numel() * 2 * (3 + len(mixes)))
        loops.shift_mix(
            as_array(x), norm, as_array(shift), packing.starts, mixes, normed, as_array(out)
        )
        return out


def _rows(z: Mapping[str, torch.Tensor], *names: str) -> torch.Tensor:
    return torch.stack([z[name].float().flatten() for name in names]).contiguous()


def _array(z: Mapping[str, torch.Tensor], *names: str) -> loops.Array:
    return as_array(_rows(z, *names))


def _matrix(z: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """A matrix (out, in): low-rank parts are stored the other way round."""
    return z[name].T if _is_low_rank(name) else z[name]


def _is_low_rank(name: str) -> bool:
    return not name.endswith(".weight")


def _stack(z: Mapping[str, torch.Tensor], name: str, dtype: torch.dtype) -> Stack:
    return Stack([_matrix(z, name)], [0], dtype)


def _pair(adapter: Adapter, name: str) -> Pair | None:
    """What is added to a matrix (out, in), as `_matrix` gives it."""
    found = adapter.pairs.get(name)
    if found is None:
        return None
    return (found.b.T, found.a.T) if _is_low_rank(name) else (found.a, found.b)


def _moved(rows: loops.Array, deltas: Sequence[torch.Tensor | None]) -> loops.Array:
    """Rows with a difference added to each that has one; the same array where none has."""
    moved = rows if all(delta is None for delta in deltas) else rows.copy()
    for row, delta in zip(moved, deltas, strict=True):
        if delta is not None:
            row += delta.float().numpy().reshape(row.shape)
    return moved
