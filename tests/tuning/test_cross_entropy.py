"""The loss without all logits equals torch's with them, gradients too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rwkv_rag.tuning import cross_entropy
from rwkv_rag.tuning.cross_entropy import linear_cross_entropy


def given(rows: int, vocab: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + vocab)
    hidden = torch.randn(rows, 64, generator=generator).bfloat16().float()
    head = (torch.randn(vocab, 64, generator=generator) / 4).to(dtype)
    targets = torch.randint(0, vocab, (rows,), generator=generator)
    return hidden.requires_grad_(), head.requires_grad_(), targets


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 16, 45])
def test_loss_and_gradients_equal_those_of_all_logits(
    rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK", 16)
    hidden, head, targets = given(rows, 97, dtype)
    loss = linear_cross_entropy(hidden, head, targets)
    got = torch.autograd.grad(2 * loss, (hidden, head))
    whole = F.cross_entropy(hidden @ head.float().t(), targets, reduction="sum")
    wanted = torch.autograd.grad(2 * whole, (hidden, head))
    exact = dtype == torch.float32
    torch.testing.assert_close(loss, whole, rtol=1e-5 if exact else 3e-3, atol=1e-4)
    for mine, reference in zip(got, wanted, strict=True):
        apart = (mine.float() - reference.float()).norm() / reference.float().norm()
        assert apart < (1e-5 if exact else 1e-2)


def test_loss_of_huge_logits_is_finite_and_of_nan_is_nan() -> None:
    head = torch.eye(64).repeat(2, 1).bfloat16() * 300
    hidden = torch.eye(64)[:3] * 300
    loss = linear_cross_entropy(hidden, head, torch.tensor([0, 1, 5]))
    assert loss.item() == pytest.approx(2 * 0.6931 + 90000.69, rel=0.01)
    hidden[1, 4] = float("nan")
    assert linear_cross_entropy(hidden, head, torch.tensor([0, 1, 5])).isnan()


def test_no_rows_lose_nothing() -> None:
    hidden, head, targets = given(0, 96, torch.bfloat16)
    loss = linear_cross_entropy(hidden, head, targets)
    loss.backward()
    assert loss.item() == 0
    assert hidden.grad is not None and hidden.grad.shape == (0, 64)


def test_frozen_head_gets_no_gradient() -> None:
    hidden, head, targets = given(5, 96, torch.bfloat16)
    linear_cross_entropy(hidden, head.requires_grad_(False), targets).backward()
    assert head.grad is None and hidden.grad is not None and hidden.grad.abs().max() > 0
