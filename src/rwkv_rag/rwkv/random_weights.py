"""Random but well-behaved RWKV-7 weights in the official layout, for tests and measurements.

Knows the layout, not the mathematics and no file format. No model in earnest comes from here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

HEAD_SIZE = 64


class Ranks(NamedTuple):
    """Inner sizes of the four low-rank pairs: decay, in-context rate, value residual, gate."""

    w: int
    a: int
    v: int
    g: int


RELEASED_RANKS = {
    768: Ranks(64, 64, 32, 128),
    1024: Ranks(64, 64, 32, 128),
    2048: Ranks(96, 96, 64, 256),
    2560: Ranks(96, 96, 64, 320),
    4096: Ranks(128, 128, 96, 480),
}


def random_tensors(
    layers: int,
    width: int,
    vocab: int,
    *,
    ranks: Ranks | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> dict[str, torch.Tensor]:
    """Weights of a model that was never trained: states stay bounded, logits are of order one."""
    draw = _Draw(seed, dtype)
    ranks = ranks or RELEASED_RANKS.get(width, Ranks(16, 16, 8, 32))
    tensors = {"emb.weight": draw.normal(vocab, width, std=0.5)}
    for layer in range(layers):
        tensors |= _block(draw, layer, width, ranks)
    tensors |= _norm(draw, "ln_out", width)
    tensors["head.weight"] = draw.normal(vocab, width, std=width**-0.5)
    return tensors


class _Draw:
    """A seeded source of random tensors of one dtype."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._dtype = dtype

    def normal(self, *shape: int, mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
        return (torch.randn(*shape, generator=self._generator) * std + mean).to(self._dtype)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        return (torch.rand(*shape, generator=self._generator) * (high - low) + low).to(self._dtype)


def _norm(draw: _Draw, name: str, width: int) -> dict[str, torch.Tensor]:
    return {
        f"{name}.weight": draw.normal(width, mean=1.0, std=0.05),
        f"{name}.bias": draw.normal(width, std=0.05),
    }


def _block(draw: _Draw, layer: int, width: int, ranks: Ranks) -> dict[str, torch.Tensor]:
    prefix = f"blocks.{layer}."
    tensors: dict[str, torch.Tensor] = {}
    for name in ("ln0", "ln1", "ln2") if layer == 0 else ("ln1", "ln2"):
        tensors |= _norm(draw, prefix + name, width)
    time_mix = _time_mix(draw, layer, width, ranks)
    tensors |= {prefix + "att." + name: tensor for name, tensor in time_mix.items()}
    tensors[prefix + "ffn.x_k"] = draw.uniform(1, 1, width)
    tensors[prefix + "ffn.key.weight"] = draw.normal(4 * width, width, std=0.5 * width**-0.5)
    tensors[prefix + "ffn.value.weight"] = draw.normal(width, 4 * width, std=0.25 * width**-0.5)
    return tensors


def _time_mix(draw: _Draw, layer: int, width: int, ranks: Ranks) -> dict[str, torch.Tensor]:
    tensors = {f"x_{name}": draw.uniform(1, 1, width) for name in "rwkvag"}
    # Decays from slow to fast, as trained models have them.
    tensors["w0"] = draw.uniform(1, 1, width, low=-6.0, high=0.5)
    tensors["a0"] = draw.normal(1, 1, width, std=0.3)
    for name, rank in zip("wag", (ranks.w, ranks.a, ranks.g), strict=True):
        tensors |= _low_rank(draw, name, width, rank)
    if layer > 0:  # the first layer is the one whose values the later ones mix in
        tensors["v0"] = draw.normal(1, 1, width, mean=0.5, std=0.3)
        tensors |= _low_rank(draw, "v", width, ranks.v)
    tensors["k_k"] = draw.normal(1, 1, width, mean=0.85, std=0.05)
    tensors["k_a"] = draw.normal(1, 1, width, mean=1.0, std=0.05)
    tensors["r_k"] = draw.normal(width // HEAD_SIZE, HEAD_SIZE, std=0.1)
    for name in ("receptance", "key", "value", "output"):
        tensors[f"{name}.weight"] = draw.normal(width, width, std=0.5 * width**-0.5)
    return tensors | _norm(draw, "ln_x", width)


def _low_rank(draw: _Draw, name: str, width: int, rank: int) -> dict[str, torch.Tensor]:
    return {
        f"{name}1": draw.normal(width, rank, std=width**-0.5),
        f"{name}2": draw.normal(rank, width, std=0.5 * rank**-0.5),
    }
