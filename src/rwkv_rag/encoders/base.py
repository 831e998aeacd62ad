"""A base model with the heads of its roles, read from a folder: model, vocabulary, manifest.

The folder is what `training/export.py` writes. Knows no text; the roles do.
"""

from __future__ import annotations

from pathlib import Path

import torch

from rwkv_rag.encoders.manifest import Manifest
from rwkv_rag.errors import CorruptData
from rwkv_rag.rwkv.block import Block
from rwkv_rag.rwkv.checkpoint import load_checkpoint
from rwkv_rag.rwkv.role import RoleName, newline_id
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.rwkv.x070 import X070, Dtype

MODEL, VOCABULARY = "model.safetensors", "vocab.txt"


class Base:
    """One model in memory, shared by all its roles."""

    def __init__(self, folder: Path, *, dtype: Dtype = "auto", threads: int | None = None) -> None:
        self.manifest = Manifest.read(folder)
        checkpoint = load_checkpoint(folder / MODEL)
        self.tokenizer = Tokenizer.from_file(folder / VOCABULARY)
        if self.tokenizer.vocab_size > checkpoint.shape.vocab:
            raise CorruptData(
                "{folder}: vocabulary and model do not belong together", folder=folder
            )
        self.id = f"{self.manifest.name}-{checkpoint.sha256[:12]}"
        self.model = X070(checkpoint, dtype=dtype, threads=threads)
        self.newline = newline_id(self.tokenizer)
        self._heads = {n: t.float() for n, t in checkpoint.extras.items()}
        self.metadata = checkpoint.metadata

    def weight(self, name: str) -> torch.Tensor:
        """A tensor of the heads, fp32, such as "embed.proj.weight"."""
        try:
            return self._heads[f"heads.{name}"]
        except KeyError:
            raise CorruptData(
                "the model lacks heads.{name}; it cannot take this role", name=name
            ) from None

    def block(self, prefix: str) -> Block:
        """An RWKV-7 block of a head, such as "read.block."."""
        return Block(self._heads, f"heads.{prefix}")

    def state(self, role: RoleName, batch: int = 1) -> State:
        """The state from which `role` starts to read; generating starts from nothing."""
        state = self.model.zero_state(batch)
        if role != "generate":
            state.wkv[:] = self.weight(f"states.{role}")[:, None]
        return state
