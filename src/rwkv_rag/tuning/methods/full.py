"""Full fine-tuning: every weight trains, and the result is a whole model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv.tuned import Kind
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings


class Full:
    """Trains everything, in fp32: bf16 cannot hold what a step of the usual rates adds."""

    name = "full"
    kind: Kind = "model"
    default_rates = (6e-5, 6e-6)

    def attach(
        self, network: Network, settings: TuneSettings, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        if settings.quantization != "none":
            raise InputError(
                "quantization is {quantization!r}, and full tuning changes every weight, "
                "which needs them whole; choose lora or state, or quantization none",
                quantization=settings.quantization,
            )
        for parameter in network.parameters():  # copied: it may be the mapped file of the base
            parameter.data = parameter.data.to(torch.float32, copy=True)
        for block in network.layers():
            block.att.matrices = block.ffn.matrices = torch.float32
        network.requires_grad_(True)

    def fixed(self, network: Network) -> dict[str, Tensor]:
        return {}

    def result(self, network: Network) -> dict[str, Tensor]:
        """All tensors, in fp32."""
        return {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in network.state_dict().items()
        }
