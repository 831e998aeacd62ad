"""A base model with the heads of its roles, read from a folder: model, vocabulary, manifest.

The folder is what `training/export.py` writes. Knows no text; the roles do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rwkv_rag.errors import CorruptData, NotFound
from rwkv_rag.rwkv.block import Block
from rwkv_rag.rwkv.checkpoint import load_checkpoint
from rwkv_rag.rwkv.role import RoleName, newline_id
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.rwkv.x070 import X070, Dtype

MODEL, VOCABULARY, MANIFEST = "model.safetensors", "vocab.txt", "manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a base beside its weights; `training/calibrate.py` measures the numbers.

    fusion_weight       of the dense ranking beside the lexical one (1)
    rerank_weight       of the reranker's score beside the fused one; 0: reranking does not help
    similarity_floor    cosine that unrelated texts seldom exceed
    relevance           a best hit less relevant than this is no hit
    reader              whether the reading head beats quoting the best sentence, and so is used
    read_margin         a best reading below this is a refusal
    read_rank_weight    what a reading's margin loses for every place its passage stands lower
    writes              whether the base writes sentences worth reading
    """

    name: str
    fusion_weight: float = 0.0
    rerank_weight: float = 0.0
    similarity_floor: float = 1.0
    relevance: float = 0.0
    reader: bool = False
    read_margin: float = 0.0
    read_rank_weight: float = 0.0
    writes: bool = False

    @classmethod
    def read(cls, path: Path) -> Manifest:
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**values)
        except FileNotFoundError:
            raise NotFound(f"no manifest at {path}; install rwkv-rag again") from None
        except (OSError, ValueError, TypeError) as error:
            raise CorruptData(f"{path} is damaged ({error}); install rwkv-rag again") from error


class Base:
    """One model in memory, shared by all its roles."""

    def __init__(self, folder: Path, *, dtype: Dtype = "auto", threads: int | None = None) -> None:
        self.manifest = Manifest.read(folder / MANIFEST)
        checkpoint = load_checkpoint(folder / MODEL)
        self.tokenizer = Tokenizer.from_file(folder / VOCABULARY)
        if self.tokenizer.vocab_size > checkpoint.shape.vocab:
            raise CorruptData(f"{folder}: vocabulary and model do not belong together")
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
            raise CorruptData(f"the model lacks heads.{name}; it cannot take this role") from None

    def block(self, prefix: str) -> Block:
        """An RWKV-7 block of a head, such as "read.block."."""
        return Block(self._heads, f"heads.{prefix}")

    def state(self, role: RoleName, batch: int = 1) -> State:
        """The state from which `role` starts to read."""
        state = self.model.zero_state(batch)
        state.wkv[:] = self.weight(f"states.{role}")[:, None]
        return state
