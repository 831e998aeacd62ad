"""The compiled loops where a model would not show their faults: odd numbers and rounding."""

from __future__ import annotations

import numpy as np
import torch

from rwkv_rag.rwkv.checkpoint import from_tensors
from rwkv_rag.rwkv.kernels import wkv as loops
from rwkv_rag.rwkv.linear import as_array
from rwkv_rag.rwkv.random_weights import random_tensors
from rwkv_rag.rwkv.x070 import X070

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
    vectors, work = np.zeros((8, 1, 64), np.float32), np.empty((8, 64), np.float32)
    loops._decays(raw.reshape(1, 1, 64), vectors, 0, 0, work)
    wanted = np.exp(-np.exp(-0.5) / (1 + np.exp(-raw.astype(np.float64))))
    assert np.abs(work[1] - wanted).max() < 1e-6


def test_a_zero_key_removes_nothing_and_divides_by_no_zero():
    zero = np.zeros((1, 1, 64), np.float32)
    vectors, work = np.ones((8, 1, 64), np.float32), np.full((8, 64), np.nan, np.float32)
    loops._keys(zero, zero, vectors, 0, 0, work)
    assert not work[[2, 4, 5]].any()


def test_a_model_compiles_every_kernel_for_contiguous_arrays_only():
    """A strided array would be slow, and compiled for anew while a user waits."""
    model = X070(from_tensors(random_tensors(2, 64, 20)))
    state = model.forward([[1], [2, 3], [4]]).state
    model.step([5, 6, 7], state)
    model.step([5], state.select([1]))
    for kernel in (loops.shift_mix, loops.wkv, loops.products, loops.square_relu):
        signatures = [str(signature) for signature in kernel.signatures]
        assert signatures
        assert not [text for text in signatures if "'A'" in text]
