"""The compiled loops where a model would not show their faults: odd numbers and rounding."""

from __future__ import annotations

import numpy as np
import torch

from rwkv_rag.rwkv.kernels import wkv as loops
from rwkv_rag.rwkv.linear import as_array

ODD = [0.0, -0.0, 1.5, -2.0, float("inf"), float("-inf"), float("nan"), 3.3e38, 1e-40, -7.25]


def test_square_relu_keeps_nan_and_infinity():
    values = np.array([ODD], np.float32)
    loops.square_relu(values)
    with np.errstate(over="ignore"):
        wanted = np.maximum(np.array([ODD], np.float32), 0) ** 2
    assert np.array_equal(values, wanted, equal_nan=True)


def test_bfloat16_rounds_as_torch_does():
    torch.manual_seed(0)
    values = torch.cat([torch.randn(5000) * 100, torch.tensor(ODD), torch.tensor([1.00390625])])
    squares = values.bfloat16()[None].clone()
    loops.square_relu(as_array(squares))
    wanted = values.bfloat16().float().relu().square().bfloat16()
    assert torch.equal(squares[0].nan_to_num(7), wanted.nan_to_num(7))
    assert squares[0].isnan().sum() == 1


def test_decays_stay_in_their_range_for_any_input():
    """exp(-exp(-0.5)) <= decay <= 1, also where the exponential would overflow."""
    raw = np.linspace(-200, 200, 64).astype(np.float32)
    base, out = np.zeros(64, np.float32), np.empty(64, np.float32)
    loops._decay(raw, base, out)
    wanted = np.exp(-np.exp(-0.5) / (1 + np.exp(-raw.astype(np.float64))))
    assert np.abs(out - wanted).max() < 1e-6


def test_a_zero_key_is_removed_without_dividing_by_zero():
    out = np.empty(64, np.float32)
    scale = loops._removal(np.zeros(64, np.float32), np.ones(64, np.float32), out)
    assert np.isfinite(scale)
    assert not out.any()


def test_every_kernel_is_compiled_for_one_layout_a_type():
    """More signatures than types would mean a strided array slipped in: slow, and compiled anew."""
    for kernel in (loops.shift_mix, loops.wkv, loops.square_relu):
        assert kernel.signatures, "run after a model in this process, or the test is empty"
        assert not [text for text in map(str, kernel.signatures) if "'A'" in text]
