"""RWKV-7 (x070) as a differentiable network whose `state_dict` is a checkpoint in the official
layout.

Equal to `rwkv.reference` up to rounding (tested). Batches are right-padded rectangles: padding
comes after the text, so it cannot reach it. The stream between blocks is fp32 whatever type the
matrices have. Knows no data, losses or optimisers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from rwkv_rag.rwkv.checkpoint import Checkpoint
from rwkv_rag.rwkv.state import State
from rwkv_rag.tuning.block import HEAD_SIZE, Block, Memory, NetworkShape

__all__ = ["Block", "Network", "NetworkShape"]


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
