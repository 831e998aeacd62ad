"""PiSSA: LoRA whose pair begins as the strongest directions of W itself; the rest of W is frozen.

While training runs the frozen matrix is W - B0 A0, so the start equals the base. The result is
stored as the difference to the base, B A - B0 A0, a pair of twice the rank: whoever applies it
needs no changed base.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rwkv_rag.errors import CorruptData, InputError
from rwkv_rag.rwkv.tuned import Kind
from rwkv_rag.tuning.methods import injection
from rwkv_rag.tuning.methods.injection import ADAPTER, copied
from rwkv_rag.tuning.methods.low_rank import LowRankParts
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings

POWER_ITERATIONS = 4


class Pissa:
    """Trains the strongest directions of each matrix; alpha is the rank if None."""

    name = "pissa"
    kind: Kind = "adapter"
    default_rates = (2e-4, 2e-5)

    def __init__(self) -> None:
        self._small = LowRankParts()
        self._first: dict[str, Tensor] = {}

    def attach(
        self, network: Network, settings: TuneSettings, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        if settings.quantization != "none":
            raise InputError(
                "quantization is {quantization!r}, and PiSSA takes the base's matrices "
                "apart, which needs them whole; choose lora, or quantization none",
                quantization=settings.quantization,
            )
        network.requires_grad_(False)
        if chosen := injection.targets(settings):
            config = injection.peft().LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha or settings.rank,
                target_modules=chosen,
                init_lora_weights=False,  # peft's own start rounds the pair to the base's type
            )
            injection.inject(network, config, settings)
        generator = torch.Generator().manual_seed(settings.seed)
        for name, layer in injection.adapted(network):
            first = strongest(layer, generator) if kept is None else _kept(name, kept)
            a, b = map(copied, first)
            self._first[f"{name}.lora_A"], self._first[f"{name}.lora_B"] = a, b
            _start_from(layer, a, b)
        self._small.attach(network, settings)

    def fixed(self, network: Network) -> dict[str, Tensor]:
        """The first pairs, unscaled."""
        return dict(self._first)

    def result(self, network: Network) -> dict[str, Tensor]:
        tensors = self._small.result(network)
        for name, layer in injection.adapted(network):
            first_a, first_b = self._first[f"{name}.lora_A"], self._first[f"{name}.lora_B"]
            now_a, now_b = (
                copied(layer.lora_A[ADAPTER].weight),
                copied(layer.lora_B[ADAPTER].weight),
            )
            tensors[f"{name}.lora_A"] = torch.cat([now_a, first_a])
            tensors[f"{name}.lora_B"] = torch.cat([now_b, -first_b], 1) * layer.scaling[ADAPTER]
        return tensors


def strongest(layer: Any, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A (r, in) and B (out, r) in fp32: `scaling · B A` is nearly the best rank-r likeness of it.

    By a randomised SVD (Halko, Martinsson and Tropp 2011), whose random part is drawn on the CPU.
    """
    weight, scaling, rank = (
        layer.base_layer.weight.float(),
        layer.scaling[ADAPTER],
        layer.r[ADAPTER],
    )
    y = weight @ torch.randn(weight.shape[1], rank, generator=generator).to(weight.device)
    basis = torch.linalg.qr(y).Q
    for _ in range(POWER_ITERATIONS):
        basis = torch.linalg.qr(weight @ torch.linalg.qr(weight.T @ basis).Q).Q
    u, s, v = torch.linalg.svd(basis.T @ weight, full_matrices=False)
    root = (s / scaling).sqrt()
    return root[:, None] * v, basis @ u * root


def _kept(name: str, kept: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    try:
        return kept[f"{name}.lora_A"], kept[f"{name}.lora_B"]
    except KeyError:
        raise CorruptData(
            "the checkpoint lacks the start of {name}; start a new job", name=name
        ) from None


def _start_from(layer: Any, first_a: Tensor, first_b: Tensor) -> None:
    """Let the pair begin so, and take it out of the frozen matrix."""
    weight, scaling = layer.base_layer.weight, layer.scaling[ADAPTER]
    for side, first in ((layer.lora_A, first_a), (layer.lora_B, first_b)):
        side[ADAPTER].weight.data = first.to(weight.device, torch.float32, copy=True)
    taken = scaling * layer.lora_B[ADAPTER].weight.data @ layer.lora_A[ADAPTER].weight.data
    weight.data = (weight.data.float() - taken).to(weight.dtype)  # the file's memory stays as it is
