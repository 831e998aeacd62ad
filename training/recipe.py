"""What the builtin model is made of: its shape, and how its tasks are mixed over the run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rwkv_rag.tuning.network import NetworkShape


@dataclass(frozen=True, slots=True)
class Recipe:
    """Batches are (rows, tokens). `scored` is the share of positions whose next token is
    predicted.
    """

    shape: NetworkShape
    steps: int
    rerank_layers: tuple[int, ...]
    lr: float = 1e-3
    decay: float = 0.3
    weight_decay: float = 0.05
    long_batch: tuple[int, int] = (32, 128)
    short_batch: tuple[int, int] = (64, 64)
    pair_batch: tuple[int, int, int] = (32, 32, 128)  # rows, tokens of query, of passage
    short_until: float = 0.35
    scored: float = 0.33
    temperature: float = 0.05
    pair_scale: float = 2.0  # its gradients are small beside those of the reading tasks
    newline: int = 11  # byte 10 has id 11 in every World vocabulary
    seed: int = 20261123

    def mixture(self, progress: float) -> dict[str, float]:
        """Shares of the tasks at `progress` (0..1) of the run."""
        if progress < 0.15:
            return {"language": 0.4, "cloze": 0.6}
        if progress < 0.35:
            return {"language": 0.1, "cloze": 0.3, "read": 0.35, "pairs": 0.25}
        return {"language": 0.03, "cloze": 0.1, "read": 0.6, "pairs": 0.22, "rerank": 0.05}

    def with_steps(self, steps: int) -> Recipe:
        return replace(self, steps=steps)


# What two CPU cores can do in about an hour.
CPU_SMALL = Recipe(
    NetworkShape(layers=4, width=256, vocab=16384, rank_w=32, rank_a=32, rank_v=16, rank_g=64),
    steps=1850,
    rerank_layers=(1, 2, 3),
)
