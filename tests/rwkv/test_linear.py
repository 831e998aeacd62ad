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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vectors", [1, MANY - 1, MANY])
def test_a_pair_adds_its_product_to_its_own_matrix_only(dtype, vectors):
    torch.manual_seed(vectors)
    weights = [torch.randn(rows, 96) / 10 for rows in (7, 130, 1)]
    pairs = [None, (torch.randn(4, 96) / 10, torch.randn(130, 4) / 10), None]
    x = torch.randn(3, vectors, 96).to(dtype)
    stack = Stack(weights, [2, 0, 2], dtype)
    adapted = stack.adapted(pairs)
    near = 2**-5 if dtype == torch.bfloat16 else 1e-5
    a, b = pairs[1]
    wanted = x[0].double() @ (weights[1] + b @ a).double().T
    plain, parts = stack(x), adapted(x)
    assert torch.allclose(parts[1].double(), wanted, rtol=near, atol=near)
    assert torch.equal(parts[0], plain[0]) and torch.equal(parts[2], plain[2])
    assert adapted.weight.data_ptr() == stack.weight.data_ptr()
    added = adapted._downs.weight.nbytes + sum(up.nbytes for _, up in adapted._ups)
    assert added == (a.numel() + b.numel()) * stack.weight.element_size()


def test_without_pairs_a_stack_stays_itself():
    stack = Stack([torch.randn(3, 64)], [0], torch.float32)
    assert stack.adapted([None]) is stack
