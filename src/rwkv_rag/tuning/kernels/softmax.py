"""Softmax and cross-entropy of rows of bfloat16 logits, turned into their gradient in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from rwkv_rag.tuning.kernels.lanes import (
    LANES,
    at_least,
    compiled,
    exp,
    fill,
    get,
    hold,
    number,
    parallel,
    put,
    start,
    take,
    total,
)  # fmt: skip

Array = NDArray[Any]
Start = Any  # of an array


@parallel
def softmax_gradient(logits: Array, targets: Array, losses: Array) -> None:
    """`logits` (N * V,) become probabilities less one at the target; `losses` (N,) are in nats.

    V is a multiple of LANES.
    """
    width = logits.shape[0] // targets.shape[0]
    for row in prange(targets.shape[0]):
        scratch = np.empty(width + LANES, np.float32)
        shares, first = start(scratch), row * width
        top = _highest(start(logits), first, width, shares)
        place = first + targets[row] // LANES * LANES
        put(shares, width, take(start(logits), place))
        aim = get(shares, width + targets[row] % LANES) - top
        summed = _exponentials(start(logits), first, width, top, shares)
        losses[row] = np.log(summed) - aim
        _divide(shares, width, np.float32(1.0) / summed, start(logits), first)
        scratch[targets[row]] = scratch[targets[row]] / summed - np.float32(1.0)
        for c in range(targets[row] // LANES * LANES, targets[row] // LANES * LANES + LANES):
            if c != targets[row]:
                scratch[c] = scratch[c] / summed
        put(start(logits), place, take(shares, place - first))
        hold(scratch)


@compiled
def _highest(logits: Start, first: int, width: int, scratch: Start) -> Any:
    tops = take(logits, first)
    for c in range(LANES, width, LANES):
        tops = at_least(take(logits, first + c), tops)
    put(scratch, 0, tops)
    top = get(scratch, 0)
    for c in range(1, LANES):
        top = max(top, get(scratch, c))
    return top


@compiled
def _exponentials(logits: Start, first: int, width: int, top: Any, shares: Start) -> Any:
    summed, above = number(0.0), fill(top)
    for c in range(0, width, LANES):
        share = exp(take(logits, first + c) - above)
        put(shares, c, share)
        summed = summed + share
    return total(summed)


@compiled
def _divide(shares: Start, width: int, factor: Any, out: Start, first: int) -> None:
    for c in range(0, width, LANES):
        put(out, first + c, take(shares, c) * fill(factor))
