"""Devices of a training run: which, how many, and how they share the work. Alone names Lightning.

Strategies are Lightning Fabric's: `ddp` gives every device all parameters and a part of the rows,
`fsdp` and `deepspeed_stage_*` spread the parameters too. Precision is not Fabric's business here:
the network holds its matrices in the type they are multiplied in.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rwkv_rag.errors import InputError, MissingExtra
from rwkv_rag.types import TuneSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MANY_ENOUGH = 2  # processes may share one core, to try how several devices work together
INSTALL = "pip install 'rwkv-rag[tune]'"


def device_of(name: str) -> torch.device:
    """The device that "auto", "cpu", "cuda" or "cuda:1" means here. InputError without it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return torch.device("cpu")
    if not number.isdigit() and number:
        raise InputError("device is {name!r}; choose auto, cpu or cuda", name=name)
    if not torch.cuda.is_available():
        raise InputError(
            "device is {name!r}, but torch finds no GPU here; choose cpu or auto", name=name
        )
    if int(number or 0) >= torch.cuda.device_count():
        raise InputError(
            "device is {name!r}, but {device_count} GPUs are here; choose cuda:0",
            name=name,
            device_count=torch.cuda.device_count(),
        )
    return torch.device("cuda", int(number or 0))


def check_devices(settings: TuneSettings) -> None:
    """Raise InputError or MissingExtra for devices and strategies that are not there."""
    for package in ("lightning_fabric", "psutil"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(
                "fine-tuning needs {package}; install it with: {install}",
                package=package,
                install=INSTALL,
            )
    device = device_of(settings.device)
    if device.type == "cuda" and settings.devices > torch.cuda.device_count():
        raise InputError(
            "devices is {devices}, but {device_count} GPUs are here; lower it",
            devices=settings.devices,
            device_count=torch.cuda.device_count(),
        )
    cores = max(MANY_ENOUGH, os.cpu_count() or 1)
    if device.type == "cpu" and settings.devices > cores:
        raise InputError(
            "devices is {devices}, but {cores} processor cores are here; lower it",
            devices=settings.devices,
            cores=cores,
        )
    if spread(settings.strategy) and device.type != "cuda":
        raise InputError(
            "strategy is {strategy!r}, which needs GPUs; choose ddp or auto",
            strategy=settings.strategy,
        )
    if settings.strategy.startswith("deepspeed"):
        if importlib.util.find_spec("deepspeed") is None:
            raise MissingExtra(
                "strategy is {strategy!r}, which needs DeepSpeed; install it with: pip "
                "install deepspeed",
                strategy=settings.strategy,
            )
        if settings.accumulate > 1 or settings.chunk:
            raise InputError(
                "strategy is {strategy!r}, which takes one backward pass a step; set "
                "accumulate to 1 and chunk to 0, or choose fsdp",
                strategy=settings.strategy,
            )


def spread(strategy: str) -> bool:
    """Whether a strategy spreads the parameters over the devices."""
    return strategy == "fsdp" or strategy.startswith("deepspeed")


def open_fabric(settings: TuneSettings) -> Fabric:
    """Fabric for the devices of `settings`, not yet launched."""
    check_devices(settings)
    device = device_of(settings.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning's own imports
        from lightning_fabric import Fabric
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    several = settings.devices * settings.nodes > 1
    devices: Any = settings.devices
    if not several:
        devices = [device.index or 0] if device.type == "cuda" else 1
    return Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=settings.nodes,
        strategy=_strategy(settings) if several else "auto",
    )


def is_first(fabric: Fabric) -> bool:
    """Whether this process is the one that was started by hand and starts the others."""
    environment = getattr(fabric.strategy, "cluster_environment", None)
    return environment is None or (environment.local_rank(), environment.node_rank()) == (0, 0)


def one_device() -> Fabric:
    """Fabric for this process and its processor alone."""
    return open_fabric(TuneSettings(name="", data=Path(), device="cpu"))


def _strategy(settings: TuneSettings) -> Any:
    if settings.strategy in ("auto", "ddp"):
        return "ddp"
    if settings.strategy == "fsdp":
        from lightning_fabric.strategies.fsdp import FSDPStrategy

        from rwkv_rag.tuning.network import Block

        return FSDPStrategy(auto_wrap_policy={Block}, state_dict_type="full")
    from lightning_fabric.strategies.deepspeed import DeepSpeedStrategy

    strategy: Any = DeepSpeedStrategy(stage=int(settings.strategy[-1]))
    strategy.config["gradient_clipping"] = settings.clip  # Fabric leaves clipping to the engine
    return strategy


def spreads(fabric: Fabric) -> bool:
    """Whether the parameters are spread over the devices, so that none holds all."""
    return type(fabric.strategy).__name__ in ("FSDPStrategy", "DeepSpeedStrategy")


def clipped(fabric: Fabric, module: Any, optimiser: Any, limit: float) -> float:
    """Scale the gradients down to norm `limit` (0: leave them); returns their norm before."""
    if type(fabric.strategy).__name__ == "DeepSpeedStrategy":  # its engine clips when it steps
        return float(module.get_global_grad_norm() or 0.0)
    norm = fabric.clip_gradients(
        module, optimiser, max_norm=limit or math.inf, error_if_nonfinite=False
    )
    return float(norm if norm is not None else math.nan)


@contextmanager
def whole(fabric: Fabric, module: nn.Module) -> Iterator[None]:
    """Inside, every parameter can be read in full, however the strategy spreads them."""
    name = type(fabric.strategy).__name__
    if name == "FSDPStrategy":
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(module, writeback=False):
            yield
    elif name == "DeepSpeedStrategy":
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(module.parameters())):
            yield
    else:
        yield
