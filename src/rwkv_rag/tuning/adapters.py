"""The methods that train small matrices beside the large ones: LoRA, PiSSA and MiSS.

peft's layers wrap the network's; results are named as checkpoints name the matrices. The low-rank
parts of the model itself (`w1` … `g2`) may train beside any of them. Knows no data and no losses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rwkv_rag.errors import CorruptData, InputError, MissingExtra
from rwkv_rag.rwkv.tuned import Kind
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings

ADAPTER = "default"  # peft's name for the only adapter of a network
POWER_ITERATIONS = 4
_PARTS = {"att": "att.(receptance|key|value|output)", "ffn": "ffn.(key|value)"}
_LOW_RANK = re.compile("[wavg][12]")


class Lora:
    """LoRA: beside each matrix W trains a pair of thin ones, W + B A · alpha / rank.

    B begins as zeros, so that training begins at the base. Alpha is the rank if None.
    """

    name = "lora"
    kind: Kind = "adapter"
    default_rates = (4e-4, 4e-5)

    def __init__(self) -> None:
        self._low_rank = LowRankParts()

    def attach(
        self, network: Network, settings: TuneSettings, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        alpha = settings.alpha or settings.rank
        _wrap(network, settings, "LoraConfig", lora_alpha=alpha, init_lora_weights=True)
        self._low_rank.attach(network, settings)

    def fixed(self, network: Network) -> dict[str, Tensor]:
        return {}

    def result(self, network: Network) -> dict[str, Tensor]:
        tensors = self._low_rank.result(network)
        for name, layer in _wrapped(network):
            a, b = _pair(layer)
            tensors[f"{name}.lora_A"] = a
            tensors[f"{name}.lora_B"] = b * layer.scaling[ADAPTER]
        return tensors


class Miss:
    """MiSS (once DiSHA, Bone): one block (rank, out), repeated over the inputs of each matrix.

    The block begins as zeros, so that training begins at the base. There is no alpha.
    """

    name = "miss"
    kind: Kind = "adapter"
    default_rates = (4e-4, 4e-5)

    def __init__(self) -> None:
        self._low_rank = LowRankParts()

    def attach(
        self, network: Network, settings: TuneSettings, kept: Mapping[str, Tensor] | None = None
    ) -> None:
        _wrap(network, settings, "MissConfig", init_weights=True)
        self._low_rank.attach(network, settings)

    def fixed(self, network: Network) -> dict[str, Tensor]:
        return {}

    def result(self, network: Network) -> dict[str, Tensor]:
        tensors = self._low_rank.result(network)
        for name, layer in _wrapped(network):
            tensors[f"{name}.miss"] = copied(layer.miss_block[ADAPTER])
        return tensors


class Pissa:
    """PiSSA: LoRA whose pair begins as the largest singular directions of W, the rest is frozen.

    While training runs the frozen matrix is W - B0 A0, so the start equals the base. The result is
    stored as the difference to the base, B A - B0 A0, a pair of twice the rank, which needs no
    changed base. Alpha is the rank if None.
    """

    name = "pissa"
    kind: Kind = "adapter"
    default_rates = (2e-4, 2e-5)

    def __init__(self) -> None:
        self._low_rank = LowRankParts()
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
        alpha = settings.alpha or settings.rank
        # peft's own start would round the pair to the base's type
        _wrap(network, settings, "LoraConfig", lora_alpha=alpha, init_lora_weights=False)
        generator = torch.Generator().manual_seed(settings.seed)
        for name, layer in _wrapped(network):
            first = _strongest(layer, generator) if kept is None else _kept(name, kept)
            a, b = map(copied, first)
            self._first[f"{name}.lora_A"], self._first[f"{name}.lora_B"] = a, b
            _start_from(layer, a, b)
        self._low_rank.attach(network, settings)

    def fixed(self, network: Network) -> dict[str, Tensor]:
        """The first pairs, unscaled."""
        return dict(self._first)

    def result(self, network: Network) -> dict[str, Tensor]:
        tensors = self._low_rank.result(network)
        for name, layer in _wrapped(network):
            a, b = _pair(layer)
            first_a, first_b = self._first[f"{name}.lora_A"], self._first[f"{name}.lora_B"]
            tensors[f"{name}.lora_A"] = torch.cat([a, first_a])
            tensors[f"{name}.lora_B"] = torch.cat([b, -first_b], 1) * layer.scaling[ADAPTER]
        return tensors


class LowRankParts:
    """`att.w1` … `att.g2` of every block, trained themselves, and what they were before.

    They are no modules that an adapter could wrap, and an adapter would be hardly smaller.
    """

    def __init__(self) -> None:
        self._start: dict[str, Tensor] = {}

    def attach(self, network: Network, settings: TuneSettings) -> None:
        """Make them trainable if asked for, in fp32 and in memory of their own."""
        if "low_rank" not in settings.parts:
            return
        for layer, block in enumerate(network.layers()):
            for name, parameter in list(block.att.named_parameters(recurse=False)):
                if _LOW_RANK.fullmatch(name):
                    self._start[f"blocks.{layer}.att.{name}"] = copied(parameter)
                    own = parameter.detach().to(torch.float32, copy=True)
                    setattr(block.att, name, nn.Parameter(own))

    def result(self, network: Network) -> dict[str, Tensor]:
        """The difference to what they were, as `NAME.delta`."""
        now = dict(network.named_parameters())
        return {f"{name}.delta": copied(now[name]) - was for name, was in self._start.items()}


def copied(tensor: Tensor) -> Tensor:
    """The values in memory of their own, on the CPU and in fp32."""
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()


def _wrap(network: Network, settings: TuneSettings, config: str, **options: Any) -> None:
    """Freeze all, and wrap the layers that `settings.parts` name, as peft's `config` says.

    What trains is in fp32 and drawn by `settings.seed`.
    """
    network.requires_grad_(False)
    parts = "|".join(f"({_PARTS[part]})" for part in settings.parts if part in _PARTS)
    if not parts:
        return
    chosen = rf"blocks\.\d+\.({parts})"
    _check_rank(network, chosen, settings.rank)
    peft = _peft()
    adapter = getattr(peft, config)(r=settings.rank, target_modules=chosen, **options)
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(settings.seed)
        peft.inject_adapter_in_model(adapter, network, adapter_name=ADAPTER)
    for parameter in network.parameters():
        if parameter.requires_grad:  # made in the base's type, too coarse for small steps
            parameter.data = parameter.data.float()


def _check_rank(network: Network, chosen: str, rank: int) -> None:
    layers: list[Any] = [m for name, m in network.named_modules() if re.fullmatch(chosen, name)]
    most = min(min(layer.in_features, layer.out_features) for layer in layers)
    if rank > most:
        raise InputError(
            "rank is {rank}, and the model's smallest matrix allows {most}; give a rank "
            "of at most {most}",
            rank=rank,
            most=most,
        )


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtra(
            "tuning adapters needs peft, which is not installed: pip install 'rwkv-rag[tune]'"
        ) from error
    return peft


def _wrapped(network: Network) -> Iterator[tuple[str, Any]]:
    """The wrapped layers, each with the checkpoint's name of the matrix inside."""
    for name, module in network.named_modules():
        if hasattr(module, "base_layer"):
            yield f"{name}.weight", module


def _pair(layer: Any) -> tuple[Tensor, Tensor]:
    return copied(layer.lora_A[ADAPTER].weight), copied(layer.lora_B[ADAPTER].weight)


def _strongest(layer: Any, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A (r, in) and B (out, r) in fp32: `scaling · B A` is nearly the best rank-r approximation.

    By a randomised SVD (Halko, Martinsson and Tropp 2011), whose random part is drawn on the CPU.
    """
    weight, rank = layer.base_layer.weight.float(), layer.r[ADAPTER]
    y = weight @ torch.randn(weight.shape[1], rank, generator=generator).to(weight.device)
    basis = torch.linalg.qr(y).Q
    for _ in range(POWER_ITERATIONS):
        basis = torch.linalg.qr(weight @ torch.linalg.qr(weight.T @ basis).Q).Q
    u, s, v = torch.linalg.svd(basis.T @ weight, full_matrices=False)
    root = (s / layer.scaling[ADAPTER]).sqrt()
    return root[:, None] * v, basis @ u * root


def _kept(name: str, kept: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    try:
        return kept[f"{name}.lora_A"], kept[f"{name}.lora_B"]
    except KeyError:
        raise CorruptData(
            "the checkpoint lacks the start of {name}; start a new job", name=name
        ) from None


def _start_from(layer: Any, first_a: Tensor, first_b: Tensor) -> None:
    """Make this pair the layer's, and take it out of the frozen matrix."""
    weight, scaling = layer.base_layer.weight, layer.scaling[ADAPTER]
    for side, first in ((layer.lora_A, first_a), (layer.lora_B, first_b)):
        side[ADAPTER].weight.data = first.to(weight.device, torch.float32, copy=True)
    taken = scaling * layer.lora_B[ADAPTER].weight.data @ layer.lora_A[ADAPTER].weight.data
    weight.data = (weight.data.float() - taken).to(weight.dtype)  # the file's memory stays as it is
