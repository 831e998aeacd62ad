"""Compiled loops and the chunked form against the recurrence itself, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rwkv_rag.tuning.wkv import CHUNK, wkv7, wkv7_chunked

Form = Callable[..., tuple[Tensor, Tensor]]
Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def recurrence(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The definition, one token after the other."""
    outputs = []
    for t in range(r.shape[1]):
        moved = (state @ a[:, t, :, :, None]) @ b[:, t, :, None, :]
        state = state * log_w[:, t, :, None, :].exp() + moved
        state = state + v[:, t, :, :, None] @ k[:, t, :, None, :]
        outputs.append((state @ r[:, t, :, :, None])[..., 0])
    return torch.stack(outputs, 1), state


def inputs(length: int, *, forget: float = 1.0) -> Inputs:
    torch.manual_seed(length)
    size = (2, length, 3, 64)
    kk = torch.nn.functional.normalize(torch.randn(size), dim=-1)
    log_w = -0.6065 * torch.sigmoid(torch.randn(size) * 3) * forget
    state = torch.randn(2, 3, 64, 64)
    r, k, v = torch.randn(size), torch.randn(size), torch.randn(size)
    return r, log_w, k, v, -kk, kk * torch.rand(size), state


FORMS = pytest.mark.parametrize("form", [wkv7, wkv7_chunked])


@FORMS
@pytest.mark.parametrize("length", [1, CHUNK - 1, CHUNK, 3 * CHUNK + 5])
def test_fast_form_equals_the_recurrence(form: Form, length: int) -> None:
    fast, slow = form(*inputs(length)), recurrence(*inputs(length))
    for got, wanted in zip(fast, slow, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=2e-4)


@FORMS
def test_strongest_decay_stays_in_range(form: Form) -> None:
    r, log_w, *rest = inputs(200)
    fast, _ = form(r, torch.full_like(log_w, -0.6065), *rest)
    slow, _ = recurrence(r, torch.full_like(log_w, -0.6065), *rest)
    torch.testing.assert_close(fast, slow, rtol=1e-3, atol=1e-3)


@FORMS
def test_gradients_equal_those_of_the_recurrence(form: Form) -> None:
    """Every input is reached, the initial state too: state tuning depends on it."""
    given = [x.requires_grad_() for x in inputs(2 * CHUNK + 3)]
    weight = torch.randn(2, 2 * CHUNK + 3, 3, 64)
    gradients = []
    for function in (form, recurrence):
        y, state = function(*given)
        gradients.append(torch.autograd.grad((y * weight).sum() + state.sum(), given))
    for got, wanted in zip(*gradients, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=2e-3)
