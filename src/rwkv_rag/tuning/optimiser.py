"""AdamW with RWKV-7's parameter groups, and learning-rate schedules. Knows no data and no loss.

Groups after RWKV-LM's training notes: weight decay on large matrices only; `w0`, which sets how
slowly memory fades, learns at twice the rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

LARGE = 64  # a matrix with both sides at least this long is decayed


def adamw(
    named: Iterable[tuple[str, nn.Parameter]], *, lr: float, weight_decay: float = 0.1
) -> torch.optim.AdamW:
    """AdamW over trainable parameters; each group carries its `scale` of the scheduled rate."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            groups.setdefault(_group(name, parameter, weight_decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "weight_decay": decay, "scale": scale, "lr": lr * scale}
            for (decay, scale), members in groups.items()
        ],
        betas=(0.9, 0.99),
        eps=1e-15,
    )


def _group(name: str, parameter: Tensor, weight_decay: float) -> tuple[float, float]:
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "w0":
        return 0.0, 2.0
    decayed = leaf == "weight" and parameter.ndim == 2 and min(parameter.shape) >= LARGE
    return (weight_decay if decayed else 0.0), 1.0


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group `rate` times its scale."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]


def warmup_stable_decay(
    step: int,
    total: int,
    *,
    peak: float,
    final: float | None = None,
    warmup: int = 50,
    decay: float = 0.25,
) -> float:
    """Learning rate at `step`: linear warm-up, flat, then linear down to `final` (2 % of the peak)
    over the last share.
    """
    final = 0.02 * peak if final is None else final
    left = (total - step) / max(1.0, decay * total)
    return min(1.0, (step + 1) / max(1, warmup)) * max(final, peak * min(1.0, left))


def cosine(
    step: int, total: int, *, peak: float, final: float | None = None, warmup: int = 50
) -> float:
    """Learning rate at `step`: linear warm-up, then half a cosine down to `final`."""
    final = 0.02 * peak if final is None else final
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, total - 1 - warmup)
    return final + (peak - final) * (1 + math.cos(math.pi * min(1.0, done))) / 2
