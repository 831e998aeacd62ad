"""Stacked products: the loop for few vectors equals torch's product for many."""

from __future__ import annotations

import pytest
import torch

from rwkv_rag.rwkv.linear import MANY, Stack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vectors", [1, 2, MANY - 1, MANY, MANY + 3])
def test_each_matrix_meets_its_own_input(dtype, vectors):
    torch.manual_seed(vectors)
    weights = [torch.randn(rows, 96) for rows in (7, 130, 1)]
    x = torch.randn(3, vectors, 96).to(dtype)
    parts = Stack(weights, [2, 0, 2], dtype)(x)
    for part, weight, source in zip(parts, weights, (2, 0, 2), strict=True):
        wanted = x[source].double() @ weight.to(dtype).double().T
        assert part.dtype == dtype
        assert part.is_contiguous()
        near = 2**-7 if dtype == torch.bfloat16 else 1e-5
        assert torch.allclose(part.double(), wanted, rtol=near, atol=near)


def test_few_can_keep_full_precision_of_bf16_weights():
    weight = torch.randn(50, 64).bfloat16()
    x = torch.randn(1, 2, 64)
    out = Stack([weight], [0], torch.bfloat16).few(x, torch.float32)
    assert torch.allclose(out, x[0] @ weight.float().T, atol=1e-5)
