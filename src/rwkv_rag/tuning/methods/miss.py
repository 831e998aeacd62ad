"""MiSS (once DiSHA, Bone): one block of rank rows, laid over the inputs again and again.

The block begins as zeros, so that training begins at the base. There is no alpha.
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


class Miss:
    """Trains a block (rank, out) beside each matrix of the chosen parts."""

    name = "miss"
    kind: Kind = "adapter"
    default_rates = (4e-4, 4e-5)

    def __init__(self) -> None:
        self._small = LowRankParts()

    def attach(
        self, network: Network, settings: TuneSettings, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        network.requires_grad_(False)
        if chosen := injection.targets(settings):
            config = injection.peft().MissConfig(
                r=settings.rank, target_modules=chosen, init_weights=True
            )
            injection.inject(network, config, settings)
        self._small.attach(network, settings)

    def fixed(self, network: Network) -> dict[str, Tensor]:
        return {}

    def result(self, network: Network) -> dict[str, Tensor]:
        tensors = self._small.result(network)
        for name, layer in injection.adapted(network):
            tensors[f"{name}.miss"] = copied(layer.miss_block[ADAPTER])
        return tensors
