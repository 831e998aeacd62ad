"""Products with a matrix that a low-rank pair stands beside, in bf16 on a CPU.

A pair in fp32 beside a bf16 matrix costs little arithmetic, but its plain form reads and writes
whole activations in fp32 several times over. Here it adds to the product in place, forwards and
backwards. Knows peft's LoRA layers by what they hold, so peft itself is not needed; other layers
are called as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def project(layer: nn.Module, x: Tensor) -> Tensor:
    """`layer(x)` for bf16 `x` (B, T, inputs)."""
    pair = _pair(layer, x)
    if pair is None:
        plain: Tensor = layer(x)
        return plain
    matrix, a, b, scale = pair
    out: Tensor = _product(x, matrix, a, b, scale)
    return out


def _pair(layer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor, float] | None:
    """Matrix, A, B and scale of a LoRA layer in its plain form over a bf16 matrix, else None."""
    active = getattr(layer, "active_adapters", [])
    if len(active) != 1 or x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return None
    name, base = active[0], getattr(layer, "base_layer", None)
    special = getattr(layer, "merged", True) or layer.disable_adapters
    if special or name not in getattr(layer, "lora_A", ()) or name in layer.lora_variant:
        return None
    if type(base) is not nn.Linear or base.bias is not None or base.weight.requires_grad:
        return None
    if not isinstance(layer.lora_dropout[name], nn.Identity):
        return None
    a, b = layer.lora_A[name], layer.lora_B[name]
    if base.weight.dtype != torch.bfloat16 or a.bias is not None or b.bias is not None:
        return None
    return base.weight, a.weight, b.weight, float(layer.scaling[name])


class _WithPair(torch.autograd.Function):
    """x W^T + scale (x A^T) B^T with W (outputs, inputs) frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        rows, a16, b16 = x.reshape(-1, x.shape[-1]), a.to(x.dtype), (b * scale).to(x.dtype)
        narrow = rows @ a16.t()
        out = (rows @ matrix.t()).addmm_(narrow, b16.t())
        ctx.save_for_backward(x, matrix, a16, b16, narrow)
        ctx.scale, ctx.types = scale, (a.dtype, b.dtype)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, matrix, a16, b16, narrow = ctx.saved_tensors
        rows, d_rows = x.reshape(-1, x.shape[-1]), d_out.reshape(-1, d_out.shape[-1])
        d_narrow = d_rows @ b16
        d_a = (d_narrow.t() @ rows).to(ctx.types[0])
        d_b = (d_rows.t() @ narrow).to(ctx.types[1]) * ctx.scale
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (d_rows @ matrix).addmm_(d_narrow, a16).view(x.shape)
        return d_x, None, d_a, d_b, None


_product: Any = _WithPair.apply
