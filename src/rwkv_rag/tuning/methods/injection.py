"""peft's adapter layers in our network: put in, found again, and named as checkpoints name them.

Knows where matrices sit, not what any method computes with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rwkv_rag.errors import InputError, MissingExtra
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings

ADAPTER = "default"
_PARTS = {"att": "att.(receptance|key|value|output)", "ffn": "ffn.(key|value)"}


def peft() -> Any:
    """The peft package. MissingExtra where it is not installed."""
    try:
        import peft as package
    except ImportError as error:
        raise MissingExtra(
            "tuning adapters needs peft, which is not installed: pip install 'rwkv-rag[tune]'"
        ) from error
    return package


def targets(settings: TuneSettings) -> str:
    """The modules that the parts of `settings` name, as a regular expression; "" if none."""
    parts = "|".join(f"({_PARTS[part]})" for part in settings.parts if part in _PARTS)
    return rf"blocks\.\d+\.({parts})" if parts else ""


def inject(network: Network, config: Any, settings: TuneSettings) -> None:
    """Wrap the layers that `config` targets, trainable in fp32 and drawn by `settings.seed`."""
    _check_rank(network, config, settings)
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(settings.seed)
        peft().inject_adapter_in_model(config, network, adapter_name=ADAPTER)
    for parameter in network.parameters():
        if parameter.requires_grad:  # made in the base's type, too coarse for small steps
            parameter.data = parameter.data.float()


def adapted(network: Network) -> Iterator[tuple[str, Any]]:
    """The wrapped layers, each with the checkpoint's name of the matrix inside."""
    for name, module in network.named_modules():
        if hasattr(module, "base_layer"):
            yield f"{name}.weight", module


def copied(tensor: Tensor) -> Tensor:
    """The values in memory of their own, on the CPU and in fp32."""
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()


def _check_rank(network: Network, config: Any, settings: TuneSettings) -> None:
    modules = network.named_modules()
    chosen = [m for name, m in modules if re.fullmatch(config.target_modules, name)]
    most = min(min(module.in_features, module.out_features) for module in chosen)
    if settings.rank > most:
        raise InputError(
            "rank is {rank}, and the model's smallest matrix allows {most}; give a rank "
            "of at most {most}",
            rank=settings.rank,
            most=most,
        )
