"""A frozen base in int8 or nf4: the big matrices of every block packed by bitsandbytes.

Embedding, head, vectors and low-rank parts stay as they are. Adapters go on top, so pack first and
attach the method afterwards. Knows no method.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rwkv_rag.errors import InputError, MissingExtra
from rwkv_rag.tuning.network import Network


def quantize(network: Network, kind: str, device: torch.device | None = None) -> None:
    """Pack the matrices of `network`, one after the other, on `device` (default: where it is).

    Given a network on the CPU and a GPU as `device`, the GPU never holds the unpacked whole.
    Raises InputError where there is no GPU, MissingExtra where bitsandbytes is not installed.
    """
    where = device or network.ln_out.weight.device
    if where.type != "cuda":
        raise InputError(
            "quantization is {kind!r}, which needs a GPU, and training would run on "
            "{type}; choose quantization none with precision bf16",
            kind=kind,
            type=where.type,
        )
    pack(network, kind, where)


def pack(network: Network, kind: str, device: torch.device) -> None:
    """As `quantize`, on any device that bitsandbytes can pack on."""
    packages = _bitsandbytes()
    for block in network.layers():
        for half in (block.att, block.ffn):
            for name, layer in list(half.named_children()):
                if isinstance(layer, nn.Linear):
                    setattr(half, name, _packed(packages, layer, kind, device))
            half.matrices = torch.bfloat16 if half.matrices == torch.float32 else half.matrices
    # peft asks the model, not the layers, which of its adapter layers to take.
    asked: Any = network
    asked.is_loaded_in_8bit, asked.is_loaded_in_4bit = kind == "int8", kind == "nf4"


def _packed(bnb: Any, layer: nn.Linear, kind: str, device: torch.device) -> nn.Module:
    weight = layer.weight.detach().to("cpu", torch.bfloat16, copy=True)
    sizes = (layer.in_features, layer.out_features)
    with torch.device("meta"):  # the constructor's own weights are thrown away
        if kind == "nf4":
            new = bnb.nn.Linear4bit(
                *sizes, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
            )
        else:
            new = bnb.nn.Linear8bitLt(*sizes, bias=False, has_fp16_weights=False)
    if kind == "nf4":
        new.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
    else:
        new.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    packed: nn.Module = new.to(device)
    return packed


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
    except ImportError as error:
        raise MissingExtra(
            "quantization needs bitsandbytes, which is not installed: pip install 'rwkv-rag[gpu]'"
        ) from error
    return bitsandbytes
