"""The ways of fine-tuning behind one interface: what trains, and what comes out of it.

A method prepares a network once (`attach`) and reads the result off it at the end (`result`). The
loop between them is the trainer's; no method knows data, losses or optimisers. A method remembers
what the network was before, so a job makes one of its own with `method_named`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv.tuned import Kind
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings

WIDTH = 1024  # of the models that `Method.default_rates` are for
METHODS = ("full", "lora", "pissa", "miss", "state")


class Method(Protocol):
    """One way of fine-tuning.

    `default_rates` are the first and last learning rates that suit it at a width of 1024, see
    `rates_for`; `kind` says which file of the shelf `result` fills.
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


def method_named(name: str) -> Method:
    """A method of its own for one job. InputError for a name that is none of `METHODS`."""
    if name == "full":
        from rwkv_rag.tuning.methods.full import Full

        return Full()
    if name == "lora":
        from rwkv_rag.tuning.methods.lora import Lora

        return Lora()
    if name == "pissa":
        from rwkv_rag.tuning.methods.pissa import Pissa

        return Pissa()
    if name == "miss":
        from rwkv_rag.tuning.methods.miss import Miss

        return Miss()
    if name == "state":
        from rwkv_rag.tuning.methods.state import TimeState

        return TimeState()
    raise InputError(
        "there is no tuning method {name!r}; choose one of {methods}",
        name=name,
        methods=", ".join(METHODS),
    )


def rates_for(method: Method, width: int) -> tuple[float, float]:
    """The method's first and last learning rate on a model of `width` channels.

    Adam's steps must shrink as a model widens (Yang et al. 2022, arXiv 2203.03466). The square
    of the width is an interpolation: it agrees with the best rates measured on the builtin model,
    of width 256, and with those usual for released models of width 2048 to 4096.
    """
    scale = (WIDTH / width) ** 2
    first, last = method.default_rates
    return first * scale, last * scale
