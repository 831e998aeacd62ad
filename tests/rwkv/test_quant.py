"""Int8 storage of matrices."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.rwkv.quant import dequantize_rows, quantize_rows


@settings(deadline=None)  # a loaded machine is no fault
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_every_number_comes_back_to_half_a_step(seed, size):
    weight = torch.randn(5, 33, generator=torch.Generator().manual_seed(seed)) * size
    weight[2] = 0
    quantized, scale = quantize_rows(weight)
    assert quantized.dtype == torch.int8
    error = (dequantize_rows(quantized, scale) - weight).abs()
    assert (error <= 0.501 * scale[:, None]).all()
    assert not dequantize_rows(quantized, scale)[2].any()


def test_each_row_uses_the_whole_range():
    quantized, _ = quantize_rows(torch.randn(4, 64) * torch.tensor([[1e-6], [1.0], [30.0], [1e5]]))
    assert (quantized.abs().amax(dim=1) == 127).all()
