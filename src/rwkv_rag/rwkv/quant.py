"""Int8 with one scale for each output row: how matrices are stored small. Knows no model."""

from __future__ import annotations

import torch


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric int8 of a matrix (out, in) and its fp32 scales (out,); zero rows get scale 1."""
    weight = weight.float()
    scale = weight.abs().amax(dim=1) / 127
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (weight / scale[:, None]).round().to(torch.int8), scale


def dequantize_rows(quantized: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The fp32 matrix that `quantize_rows` stored, to half a step of its row's scale."""
    return quantized.float() * scale.float()[:, None]
