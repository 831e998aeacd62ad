"""State tuning: only the state that reading begins from trains; no weight changes.

The smallest and quickest method: one matrix a head, and two chats of different states share a base.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rwkv_rag.rwkv.tuned import Kind
from rwkv_rag.tuning.methods.injection import copied
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings

SUFFIX = ".att.time_state"


class TimeState:
    """Trains `blocks.{i}.att.time_state` (H, V, K), at first zeros or what the base has."""

    name = "state"
    kind: Kind = "state"
    default_rates = (5e-2, 5e-4)

    def attach(
        self, network: Network, settings: TuneSettings, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        network.requires_grad_(False)
        network.add_time_states()

    def fixed(self, network: Network) -> dict[str, Tensor]:
        return {}

    def result(self, network: Network) -> dict[str, Tensor]:
        return {
            name: copied(parameter)
            for name, parameter in network.named_parameters()
            if name.endswith(SUFFIX)
        }
