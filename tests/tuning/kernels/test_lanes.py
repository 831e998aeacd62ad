"""Sixteen floats at a time compute what torch computes one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from torch import Tensor

from rwkv_rag.tuning.kernels.lanes import (
    LANES,
    at_least,
    exp,
    fill,
    get,
    number,
    put,
    set_one,
    sigmoid,
    start,
    take,
    total,
)  # fmt: skip

SIXTEEN = st.lists(st.floats(width=32), min_size=LANES, max_size=LANES)


@njit
def rounded(x: Any, out: Any) -> None:
    put(start(out), 0, take(start(x), 0))


@njit
def curves(x: Any, out: Any) -> None:
    put(start(out), 0, exp(take(start(x), 0)))
    put(start(out), LANES, sigmoid(take(start(x), 0)))


@njit
def sums(x: Any, y: Any, out: Any) -> None:
    first, second = take(start(x), 0), take(start(y), 0)
    put(start(out), 0, at_least(first * second + first - second / number(4.0), number(0.0)))
    set_one(start(out), LANES, total(first + fill(get(start(y), 3))))


@settings(deadline=None)  # the first call compiles
@given(SIXTEEN)
def test_rounding_to_bf16_and_back_is_that_of_torch(values: list[float]) -> None:
    x = torch.tensor(values)
    half = torch.empty(LANES, dtype=torch.bfloat16)
    back = torch.empty(LANES)
    rounded(x.numpy(), half.view(torch.uint16).numpy())
    rounded(half.view(torch.uint16).numpy(), back.numpy())
    torch.testing.assert_close(half, x.bfloat16(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(back, x.bfloat16().float(), rtol=0, atol=0, equal_nan=True)


def test_exponential_and_sigmoid_are_those_of_torch() -> None:
    for x in torch.linspace(-86, 87, 64 * LANES).view(-1, LANES):
        out = torch.empty(2 * LANES)
        curves(x.numpy(), out.numpy())
        wanted = torch.cat([x.double().exp(), x.double().sigmoid()]).float()
        torch.testing.assert_close(out, wanted, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("value", [-200.0, -88.0, 89.0, 1e30, float("inf"), -float("inf")])
def test_curves_stay_finite_beyond_their_range(value: float) -> None:
    out = torch.empty(2 * LANES)
    curves(torch.full((LANES,), value).numpy(), out.numpy())
    assert out.isfinite().all()
    assert out[LANES].item() == pytest.approx(1.0 if value > 0 else 0.0, abs=1e-30)


def test_curves_of_nan_are_nan() -> None:
    out = torch.empty(2 * LANES)
    curves(torch.full((LANES,), torch.nan).numpy(), out.numpy())
    assert out.isnan().all()


def test_sums_products_quotients_and_totals() -> None:
    x, y = (torch.randn(LANES, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    out: Tensor = torch.empty(LANES + 1)
    sums(x.numpy(), y.numpy(), out.numpy())
    torch.testing.assert_close(out[:LANES], (x * y + x - y / 4).clamp(min=0))
    assert out[LANES].item() == pytest.approx(float(np.sum((x + y[3]).numpy())), rel=1e-5)
