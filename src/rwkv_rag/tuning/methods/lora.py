"""LoRA: beside each matrix W trains a pair of thin ones, W + B A · alpha / rank.

B begins as zeros, so that training begins at the base.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rwkv_rag.rwkv.tuned import Kind
from rwkv_rag.tuning.methods import injection
from rwkv_rag.tuning.methods.injection import ADAPTER, copied
from rwkv_rag.tuning.methods.low_rank import LowRankParts
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings


class Lora:
    """Trains low-rank pairs beside the matrices of the chosen parts; alpha is the rank if None."""

    name = "lora"
    kind: Kind = "adapter"
    default_rates = (4e-4, 4e-5)

    def __init__(self) -> None:
        self._small = LowRankParts()

    def attach(
        self, network: Network, settings: TuneSettings, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        network.requires_grad_(False)
        if chosen := injection.targets(settings):
            config = injection.peft().LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha or settings.rank,
                target_modules=chosen,
                init_lora_weights=True,
            )
            injection.inject(network, config, settings)
        self._small.attach(network, settings)

    def fixed(self, network: Network) -> dict[str, Tensor]:
        return {}

    def result(self, network: Network) -> dict[str, Tensor]:
        tensors = self._small.result(network)
        for name, layer in injection.adapted(network):
            tensors[f"{name}.lora_A"] = copied(layer.lora_A[ADAPTER].weight)
            tensors[f"{name}.lora_B"] = (
                copied(layer.lora_B[ADAPTER].weight) * layer.scaling[ADAPTER]
            )
        return tensors
