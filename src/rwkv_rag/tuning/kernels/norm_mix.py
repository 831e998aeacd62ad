"""LayerNorm, then mixes of each token with the one before it: what the projections read.

Arrays are flat: `x` (B, T, C) float32; `norm` (2, C) weight and bias; `before` (B, C) what stands
normed before each row's first token; `mixes` (n, C). A mix is `h + (previous - h) * mix`, in
bfloat16, and `out` has an array (B, T, C) for each. C is a multiple of LANES.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from rwkv_rag.tuning.kernels.lanes import (
    LANES,
    compiled,
    fill,
    hold,
    number,
    parallel,
    put,
    start,
    take,
    total,
)

Array = NDArray[Any]
Start = Any  # of an array

BLOCK = 16  # tokens that a thread takes at a time
_EPS = np.float32(1e-5)
_ONE = np.float32(1.0)


@parallel
def norm_mix(
    x: Array, norm: Array, before: Array, mixes: Array, ends: Array, tokens: int,
    out: Any, last: Array,
) -> None:  # fmt: skip
    """`last` (B, C) gets what stands normed at `ends[b] - 1`; where that is -1 it is left."""
    width = norm.shape[0] // 2
    blocks = (tokens + BLOCK - 1) // BLOCK
    for unit in prange(ends.shape[0] * blocks):
        row, first = unit // blocks, unit % blocks * BLOCK
        begin = row * tokens * width
        scratch = np.empty(2 * width, np.float32)
        normed, stream, vectors = start(scratch), start(x), start(norm)
        _previous(stream, begin, vectors, start(before), row * width, first, normed, width)
        for t in range(first, min(first + BLOCK, tokens)):
            here, there = (t - first) % 2 * width, (t - first + 1) % 2 * width
            at = begin + t * width
            _normalise(stream, at, vectors, normed, here, width)
            for n in range(len(out)):
                _mix(normed, here, there, start(mixes), n * width, start(out[n]), at, width)
            if t == ends[row] - 1:
                for c in range(0, width, LANES):
                    put(start(last), row * width + c, take(normed, here + c))
        hold(scratch)


@compiled
def _mix(
    normed: Start, here: int, there: int, mixes: Start, mix: int, out: Start, at: int, width: int
) -> None:
    for c in range(0, width, LANES):
        h = take(normed, here + c)
        put(out, at + c, h + (take(normed, there + c) - h) * take(mixes, mix + c))


@compiled
def _previous(
    x: Start, begin: int, norm: Start, before: Start, row: int, t: int, normed: Start, width: int
) -> None:
    """Put what stands normed before token `t` behind the first of two places."""
    if t > 0:
        _normalise(x, begin + (t - 1) * width, norm, normed, width, width)
    else:
        for c in range(0, width, LANES):
            put(normed, width + c, take(before, row + c))


@compiled
def _normalise(x: Start, at: int, norm: Start, out: Start, place: int, width: int) -> None:
    mean, scale = _moments(x, at, width)
    for c in range(0, width, LANES):
        value = (take(x, at + c) - mean) * scale * take(norm, c)
        put(out, place + c, value + take(norm, width + c))


@compiled
def _moments(x: Start, at: int, width: int) -> Any:
    """Mean and one over the deviation of a token, in all places."""
    summed = number(0.0)
    for c in range(0, width, LANES):
        summed = summed + take(x, at + c)
    mean = fill(total(summed) / np.float32(width))
    squares = number(0.0)
    for c in range(0, width, LANES):
        away = take(x, at + c) - mean
        squares = squares + away * away
    return mean, fill(_ONE / np.sqrt(total(squares) / np.float32(width) + _EPS))


@parallel
def norm_mix_back(
    x: Array, norm: Array, before: Array, mixes: Array, ends: Array, tokens: int,
    d_out: Any, d_last: Array, d_x: Array, d_before: Array, d_norm: Array, d_mixes: Array,
) -> None:  # fmt: skip
    """Gradients of x and `before`, and of the vectors: `d_norm` (units, 2, C), `d_mixes`
    (units, n, C), which hold zeros, to be summed over the B * ceil(T / BLOCK) units.
    """
    width, count = norm.shape[0] // 2, len(d_out)
    blocks = (tokens + BLOCK - 1) // BLOCK
    for unit in prange(ends.shape[0] * blocks):
        row, first = unit // blocks, unit % blocks * BLOCK
        begin, place = row * tokens * width, unit * 2 * width
        scratch = np.empty(4 * width, np.float32)
        normed, stream, vectors = start(scratch), start(x), start(norm)
        _previous(stream, begin, vectors, start(before), row * width, first, normed, width)
        for t in range(first, min(first + BLOCK, tokens)):
            here, there = (t - first) % 2 * width, (t - first + 1) % 2 * width
            at, more = begin + t * width, t + 1 < tokens
            _normalise(stream, at, vectors, normed, here, width)
            for c in range(0, width, LANES):
                put(normed, 2 * width + c, number(0.0))
                put(normed, 3 * width + c, number(0.0))
            for n in range(count):
                mix = n * width
                _mix_back(
                    normed, here, there, start(mixes), mix, start(d_out[n]), at, more,
                    start(d_mixes), unit * count * width + mix, width,
                )  # fmt: skip
            if t == 0:
                for c in range(0, width, LANES):
                    put(start(d_before), row * width + c, take(normed, 3 * width + c))
            if t == ends[row] - 1:
                for c in range(0, width, LANES):
                    _add_to(normed, 2 * width + c, take(start(d_last), row * width + c))
            _normalise_back(stream, at, vectors, normed, start(d_x), start(d_norm), place, width)
        hold(scratch)


@compiled
def _mix_back(
    normed: Start, here: int, there: int, mixes: Start, mix: int, d_out: Start, at: int,
    more: bool, d_mixes: Start, place: int, width: int,
) -> None:  # fmt: skip
    """Add one mix's part to the gradients of the token, of the one before it, and of the mix."""
    for c in range(0, width, LANES):
        share, d_mixed = take(mixes, mix + c), take(d_out, at + c)
        step = take(normed, there + c) - take(normed, here + c)
        _add_to(d_mixes, place + c, d_mixed * step)
        d_previous = d_mixed * share
        _add_to(normed, 3 * width + c, d_previous)
        d_here = d_mixed - d_previous
        if more:
            d_here = d_here + take(d_out, at + width + c) * share
        _add_to(normed, 2 * width + c, d_here)


@compiled
def _normalise_back(
    x: Start, at: int, norm: Start, normed: Start, d_x: Start, d_norm: Start, place: int, width: int
) -> None:
    """The token's gradient stands third in `normed`."""
    mean, scale = _moments(x, at, width)
    summed = along = number(0.0)
    for c in range(0, width, LANES):
        pure, d_h = (take(x, at + c) - mean) * scale, take(normed, 2 * width + c)
        d_pure = d_h * take(norm, c)
        summed = summed + d_pure
        along = along + d_pure * pure
        _add_to(d_norm, place + c, d_h * pure)
        _add_to(d_norm, place + width + c, d_h)
    shared = fill(total(summed) / np.float32(width))
    aligned = fill(total(along) / np.float32(width))
    for c in range(0, width, LANES):
        pure = (take(x, at + c) - mean) * scale
        d_pure = take(normed, 2 * width + c) * take(norm, c)
        put(d_x, at + c, scale * (d_pure - shared - pure * aligned))


@compiled
def _add_to(sums: Start, at: int, value: Any) -> None:
    put(sums, at, take(sums, at) + value)
