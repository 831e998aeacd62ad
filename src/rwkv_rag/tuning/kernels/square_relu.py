"""relu(x) ** 2 of bfloat16 numbers, and its gradient. Arrays are flat, a multiple of LANES long."""

from __future__ import annotations

from typing import Any

from numba import prange
from numpy.typing import NDArray

from rwkv_rag.tuning.kernels.lanes import LANES, at_least, number, parallel, put, start, take

Array = NDArray[Any]

BLOCK = 256 * LANES


@parallel
def square_relu(x: Array, out: Array) -> None:
    for block in prange((x.shape[0] + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        for c in range(first, min(first + BLOCK, x.shape[0]), LANES):
            value = at_least(take(start(x), c), number(0.0))
            put(start(out), c, value * value)


@parallel
def square_relu_back(x: Array, d_out: Array, d_x: Array) -> None:
    for block in prange((x.shape[0] + BLOCK - 1) // BLOCK):
        first = block * BLOCK
        for c in range(first, min(first + BLOCK, x.shape[0]), LANES):
            value = at_least(take(start(x), c), number(0.0))
            put(start(d_x), c, number(2.0) * value * take(start(d_out), c))
