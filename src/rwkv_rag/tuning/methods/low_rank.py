"""The low-rank parts of a model trained themselves: its pairs w, a, v, g, small as they are.

They are no modules that an adapter could wrap, and an adapter would be hardly smaller. Any method
of adapters may train them beside its own; they come out as plain differences.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from rwkv_rag.tuning.methods.injection import copied
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings

_NAME = re.compile("[wavg][12]")


class LowRankParts:
    """`att.w1` … `att.g2` of every block, and what they were before."""

    def __init__(self) -> None:
        self._start: dict[str, Tensor] = {}

    def attach(self, network: Network, settings: TuneSettings) -> None:
        """Make them trainable if asked for, in fp32 and in memory of their own."""
        if "low_rank" not in settings.parts:
            return
        for layer, block in enumerate(network.layers()):
            for name, parameter in list(block.att.named_parameters(recurse=False)):
                if _NAME.fullmatch(name):
                    self._start[f"blocks.{layer}.att.{name}"] = copied(parameter)
                    own = parameter.detach().to(torch.float32, copy=True)
                    setattr(block.att, name, nn.Parameter(own))

    def result(self, network: Network) -> dict[str, Tensor]:
        """How far they have moved, as `NAME.delta`."""
        now = dict(network.named_parameters())
        return {f"{name}.delta": copied(now[name]) - was for name, was in self._start.items()}
