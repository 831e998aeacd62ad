"""RWKV-7 run fast on a CPU: token ids in, logits, hidden states and states out.

Sequences of any lengths run packed, without padding, so none sees its batch mates. Knows no text,
no sampling and no roles. `reference` is the same mathematics, written to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import torch
from torch.nn.functional import layer_norm, linear

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv.adapter import Adapter
from rwkv_rag.rwkv.block import Block, Packing
from rwkv_rag.rwkv.checkpoint import Checkpoint, load_checkpoint
from rwkv_rag.rwkv.kernels.threads import exclusive, limit_threads
from rwkv_rag.rwkv.layout import Shape
from rwkv_rag.rwkv.linear import MANY, Stack
from rwkv_rag.rwkv.state import State

Dtype = Literal["auto", "fp32", "bf16"]
_TORCH = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Rows of the LM head turned to fp32 at a time when logits of many tokens are wanted.
_HEAD_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Output:
    """What a forward pass gives, all fp32.

    `logits` is (B, V) after the last token of each sequence; empty when not wanted. `hidden` has
    (T_i, C) for each sequence, after ln_out, when asked for. `state` is new; the state given is
    unchanged.
    """

    logits: torch.Tensor
    state: State
    hidden: list[torch.Tensor] = field(default_factory=list)


class X070:
    """An RWKV-7 model in memory. Calls from several threads run one after another."""

    def __init__(
        self, checkpoint: Checkpoint, *, dtype: Dtype = "auto", threads: int | None = None
    ) -> None:
        if dtype not in get_args(Dtype):
            raise InputError(
                "unknown dtype {dtype!r}; choose one of {dtype2}",
                dtype=dtype,
                dtype2=", ".join(get_args(Dtype)),
            )
        if threads is not None and threads < 1:
            raise InputError("threads must be at least 1, not {threads}", threads=threads)
        self.shape: Shape = checkpoint.shape
        self.dtype = _automatic(checkpoint) if dtype == "auto" else dtype
        self._threads = threads
        kind, tensors = _TORCH[self.dtype], checkpoint.tensors
        self._embedding = tensors["emb.weight"]
        self._blocks = [
            Block(tensors, f"blocks.{layer}.", kind) for layer in range(self.shape.layers)
        ]
        self._ln_out = [tensors[f"ln_out.{part}"].float().flatten() for part in ("weight", "bias")]
        self._head = Stack([tensors["head.weight"]], [0], kind)

    @classmethod
    def load(cls, path: Path | str, *, dtype: Dtype = "auto", threads: int | None = None) -> X070:
        """Read a model file. NotFound or UnsupportedModel where it is none."""
        return cls(load_checkpoint(path), dtype=dtype, threads=threads)

    def adapted(self, adapter: Adapter) -> X070:
        """This model with an adapter's changes, computed beside the shared weights.

        The copy takes the memory of the adapter's matrices and changed vectors, and no more.
        """
        adapted = copy(self)
        adapted._blocks = [
            block.adapted(adapter, f"blocks.{layer}.") for layer, block in enumerate(self._blocks)
        ]
        named = zip(self._ln_out, ("ln_out.weight", "ln_out.bias"), strict=True)
        adapted._ln_out = [
            vector + adapter.deltas[name] if name in adapter.deltas else vector
            for vector, name in named
        ]
        return adapted

    @property
    def threads(self) -> int:
        return limit_threads(self._threads)

    @property
    def weights_bytes(self) -> int:
        """Memory of the matrices that every decoded token reads."""
        stacks = [stack for block in self._blocks for stack in block.stacks] + [self._head]
        return sum(stack.weight.nbytes for stack in stacks)

    def zero_state(self, batch: int = 1) -> State:
        return State.zeros(self.shape, batch)

    def forward(
        self,
        tokens: Sequence[Sequence[int]],
        state: State | None = None,
        *,
        hidden: bool = False,
        logits: bool = True,
    ) -> Output:
        """Read a batch of sequences, each continuing its state (none: from nothing)."""
        ids, packing = self._packed(tokens)
        state = self.zero_state(len(tokens)) if state is None else state.clone()
        state.check(self.shape, len(tokens))
        with exclusive, torch.no_grad():
            limit_threads(self._threads)
            x, kept = self._run(ids, packing, state, every=hidden)
            outputs = self._normed(x if hidden else x[kept.last])
            last = outputs[packing.last] if hidden else outputs
            scores = self._logits(last) if logits else torch.empty(0)
        parts = list(torch.split_with_sizes(outputs, packing.lengths)) if hidden else []
        return Output(scores, state, parts)

    def step(self, tokens: Sequence[int], state: State) -> torch.Tensor:
        """Read one token for each sequence; logits (B, V). Updates `state` in place."""
        ids, packing = self._packed([[token] for token in tokens])
        state.check(self.shape, len(tokens))
        with exclusive, torch.no_grad():
            limit_threads(self._threads)
            x, _ = self._run(ids, packing, state, every=True)
            return self._logits(self._normed(x))

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, x.shape[1:], self._ln_out[0], self._ln_out[1])

    def _run(
        self, ids: torch.Tensor, packing: Packing, state: State, *, every: bool
    ) -> tuple[torch.Tensor, Packing]:
        """Outputs of the last block and their packing: of every token, or only of the last ones."""
        x = self._embedding[ids].float()
        v_first = None
        for layer, block in enumerate(self._blocks):
            memory = (state.wkv[layer], state.att_shift[layer], state.ffn_shift[layer])
            tail = not every and block is self._blocks[-1]
            x, v_first = block.forward(x, packing, v_first, *memory, tail=tail)
        return x, packing if every else packing.tail()[1]

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        """LM head in fp32: rounded logits would tie, and greedy choices with them."""
        if len(x) < 4 * MANY:
            return self._head.few(x[None], torch.float32)
        weight = self._head.weight
        parts = [weight[row : row + _HEAD_ROWS] for row in range(0, len(weight), _HEAD_ROWS)]
        return torch.cat([linear(x, part.float()) for part in parts], dim=1)

    def _packed(self, tokens: Sequence[Sequence[int]]) -> tuple[torch.Tensor, Packing]:
        if not tokens or not all(len(sequence) for sequence in tokens):
            raise InputError("an empty sequence: the model needs at least one token of each")
        flat = [token for sequence in tokens for token in sequence]
        low, high = min(flat), max(flat)
        if low < 0 or high >= self.shape.vocab:
            outside = low if low < 0 else high
            raise InputError(
                "token {outside} is outside the model's vocabulary of {vocab}; use the "
                "vocabulary that belongs to the model",
                outside=outside,
                vocab=self.shape.vocab,
            )
        return torch.tensor(flat), Packing([len(sequence) for sequence in tokens])


def _automatic(checkpoint: Checkpoint) -> str:
    """bf16 for models stored in 16 bits or fewer, where the processor multiplies it natively."""
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if checkpoint.stored != "fp32" and native else "fp32"
