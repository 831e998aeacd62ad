"""The methods of fine-tuning: what trains, and what is written at the end.

The trainer calls `attach` once before its loop and `result` after it. Methods know no data, losses
or optimisers. They remember what the network was before, so each job makes its own with
`method_named`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv.tuned import Kind
from rwkv_rag.tuning.adapters import Lora, Miss, Pissa, copied
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings

WIDTH = 1024  # of the models that `Method.default_rates` are for


class Method(Protocol):
    """One method of fine-tuning.

    `kind` is the kind of file that `result` fills. `default_rates` are the first and last learning
    rates at a width of 1024, see `rates_for`.
    """

    name: str
    kind: Kind
    default_rates: tuple[float, float]

    def attach(
        self, network: Network, settings: TuneSettings, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        """Add what trains to `network` and freeze the rest; memory shared with a file stays as is.

        `kept` is what `fixed` gave when the job first began: with it, a resumed job starts from
        the very same network. Raises InputError for settings that the network does not allow.
        """

    def fixed(self, network: Network) -> dict[str, Tensor]:
        """What a resumed job needs beside the trained parameters, right after `attach`."""

    def result(self, network: Network) -> dict[str, Tensor]:
        """The tensors of the result's file by their names there, on the CPU, copied."""


class Full:
    """Trains every weight, in fp32: bf16 cannot hold what a step of the usual rates adds."""

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
        return {name: copied(tensor) for name, tensor in network.state_dict().items()}


class TimeState:
    """Trains the state that each layer begins to read from, `blocks.{i}.att.time_state` (H, V, K).

    It begins as zeros or as what the base has; no weight changes.
    """

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
            if name.endswith(".att.time_state")
        }


_METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Full, Lora, Pissa, Miss, TimeState)
}
METHODS = tuple(_METHODS)


def method_named(name: str) -> Method:
    """A new method for one job. InputError for a name that is none of `METHODS`."""
    if name not in _METHODS:
        raise InputError(
            "there is no tuning method {name!r}; choose one of {methods}",
            name=name,
            methods=", ".join(METHODS),
        )
    return _METHODS[name]()


def rates_for(method: Method, width: int) -> tuple[float, float]:
    """The method's first and last learning rate on a model of `width` channels.

    Adam's steps must shrink as a model widens (Yang et al. 2022, arXiv 2203.03466). The square
    of the width is an interpolation: it agrees with the best rates measured on the builtin model,
    of width 256, and with those usual for released models of width 2048 to 4096.
    """
    scale = (WIDTH / width) ** 2
    first, last = method.default_rates
    return first * scale, last * scale
