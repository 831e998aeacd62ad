"""All of the time mix between its projections, in one walk over the tokens of each head.

Decays, keys and values from what the projections gave, the recurrence, the norm of the head, the
bonus of the current token and the gate. Backwards the same again: states are recomputed from those
kept every KEEP tokens, and the gradients of the vectors cost little enough to be made always.

Arrays are flat. `raw` holds r, k, v, w, a, gate, mix, first: bfloat16 of (B, T, H, N) each, where
w, a and mix are what is added to w0, a0 and v0, and first is the first layer's values, which are
mixed in where `mixed`. `vectors` (8, H, N): w0, a0, v0, k_k, k_a, r_k, ln_x weight and bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from rwkv_rag.tuning.kernels.lanes import (
    LANES,
    compiled,
    exp,
    fill,
    hold,
    number,
    parallel,
    put,
    sigmoid,
    start,
    take,
    total,
)  # fmt: skip
from rwkv_rag.tuning.kernels.recurrence import (  # names of one letter, in rows
    DA,
    DB,
    DK,
    DR,
    DV,
    DW,
    DY,
    ROWS,
    SIZE,
    A,
    B,
    K,
    R,
    V,
    W,
    Y,
    step,
    step_back,
)  # fmt: skip

Array = NDArray[Any]
Start = Any  # of an array

KEEP = 16
_STATE = SIZE * SIZE
_DECAY = -0.6065306597126334  # -exp(-0.5)
_EPS = np.float32(64e-5)
_ONE = np.float32(1.0)
_N = np.float32(SIZE)
# Work begins with a head's vectors and their gradients ...
_W0, _A0, _V0, _K_K, _K_A, _R_K, _WEIGHT, _BIAS = (SIZE * row for row in range(8))
_D_VECTORS = 8 * SIZE
_TOKENS = 16 * SIZE
# ... and has for each token, behind the rows of the recurrence, what backwards needs of the way in.
_FADE, _RATE, _SHARE, _SCALE = (ROWS + SIZE * row for row in range(4))
_ROWS = ROWS + 4 * SIZE
_R, _K, _V, _W, _A, _GATE, _MIX, _FIRST = range(8)


@parallel
def time_mix(
    raw: Any, vectors: Array, mixed: bool, lengths: Array, tokens: int,
    state: Array, kept: Array, out: Array,
) -> None:  # fmt: skip
    """`out` (B, T, H, N) bfloat16, zeros behind `lengths`; `state` (B, H, V, K) moves on.

    `kept` (B, H, T / KEEP rounded up, V, K) gets the states before tokens 0, KEEP, 2 KEEP, …;
    nothing where it is empty.
    """
    heads = vectors.shape[0] // (8 * SIZE)
    chunks = (tokens + KEEP - 1) // KEEP
    for unit in prange(lengths.shape[0] * heads):
        row, head = unit // heads, unit % heads
        scratch = np.empty(_TOKENS + _ROWS, np.float32)
        work, given = start(scratch), _starts(raw)
        states, saves, target = start(state), start(kept), start(out)
        place = unit * _STATE
        _vectors_of(start(vectors), heads, head, work)
        for t in range(lengths[row]):
            at = ((row * tokens + t) * heads + head) * SIZE
            if kept.shape[0] and t % KEEP == 0:
                _copy(states, place, saves, (unit * chunks + t // KEEP) * _STATE)
            _prepare(given, mixed, at, work, _TOKENS)
            step(states, place, place, work, _TOKENS)
            _finish(given[_GATE], at, work, _TOKENS, target)
        for t in range(lengths[row], tokens):
            _clear(target, ((row * tokens + t) * heads + head) * SIZE)
        hold(scratch)


@parallel
def time_mix_back(
    raw: Any, vectors: Array, mixed: bool, lengths: Array, tokens: int,
    kept: Array, d_out: Array, d_state: Array, d_raw: Any, d_vectors: Array,
) -> None:  # fmt: skip
    """Gradients of all inputs; `d_state` goes in as of the end state, comes out as of the start.

    `d_raw` as `raw`, zeros behind `lengths`; `d_vectors` (B, 8, H, N).
    """
    heads = vectors.shape[0] // (8 * SIZE)
    chunks = (tokens + KEEP - 1) // KEEP
    for unit in prange(lengths.shape[0] * heads):
        row, head = unit // heads, unit % heads
        scratch = np.zeros(_TOKENS + KEEP * _ROWS, np.float32)
        memory, slope = np.empty((KEEP + 1) * _STATE, np.float32), np.empty(_STATE, np.float32)
        work, states, grad = start(scratch), start(memory), start(slope)
        given, d_given, d_read = _starts(raw), _starts(d_raw), start(d_out)
        stride, first = heads * SIZE, (row * tokens * heads + head) * SIZE
        _vectors_of(start(vectors), heads, head, work)
        _copy(start(d_state), unit * _STATE, grad, 0)
        for chunk in range((lengths[row] + KEEP - 1) // KEEP - 1, -1, -1):
            count = min(KEEP, lengths[row] - chunk * KEEP)
            begin = first + chunk * KEEP * stride
            _copy(start(kept), (unit * chunks + chunk) * _STATE, states, 0)
            for c in range(count):
                place = _TOKENS + c * _ROWS
                _prepare(given, mixed, begin + c * stride, work, place)
                step(states, c * _STATE, (c + 1) * _STATE, work, place)
            for c in range(count - 1, -1, -1):
                place = _TOKENS + c * _ROWS
                _finish_back(given, begin + c * stride, work, place, d_read, d_given)
                step_back(states, c * _STATE, grad, work, place)
                _prepare_back(given, mixed, begin + c * stride, work, place, d_given)
        _copy(grad, 0, start(d_state), unit * _STATE)
        for t in range(lengths[row], tokens):
            for n in range(8 if mixed else 6):
                _clear(d_given[n], first + t * stride)
        _keep_vectors(work, start(d_vectors), row * heads * 8, heads, head)
        hold(scratch)
        hold(memory)
        hold(slope)


@compiled
def _starts(arrays: Any) -> Any:
    return (
        start(arrays[0]), start(arrays[1]), start(arrays[2]), start(arrays[3]),
        start(arrays[4]), start(arrays[5]), start(arrays[6]), start(arrays[7]),
    )  # fmt: skip


@compiled
def _vectors_of(vectors: Start, heads: int, head: int, work: Start) -> None:
    for row in range(8):
        for c in range(0, SIZE, LANES):
            put(work, row * SIZE + c, take(vectors, (row * heads + head) * SIZE + c))


@compiled
def _keep_vectors(work: Start, target: Start, first: int, heads: int, head: int) -> None:
    for row in range(8):
        for c in range(0, SIZE, LANES):
            place = (first + row * heads + head) * SIZE + c
            put(target, place, take(work, _D_VECTORS + row * SIZE + c))


@compiled
def _clear(target: Start, at: int) -> None:
    for c in range(0, SIZE, LANES):
        put(target, at + c, number(0.0))


@compiled
def _copy(source: Start, begin: int, target: Start, place: int) -> None:
    for c in range(0, _STATE, LANES):
        put(target, place + c, take(source, begin + c))


@compiled
def _prepare(raw: Any, mixed: bool, at: int, work: Start, p: int) -> None:
    """What the recurrence takes, from what the projections gave."""
    scale = fill(_removal_scale(raw[_K], at, work))
    put(work, p + _SCALE, scale)
    for c in range(0, SIZE, LANES):
        fade = sigmoid(take(work, _W0 + c) + take(raw[_W], at + c))
        put(work, p + _FADE + c, fade)
        put(work, p + W + c, exp(number(_DECAY) * fade))
        rate = sigmoid(take(work, _A0 + c) + take(raw[_A], at + c))
        put(work, p + _RATE + c, rate)
        key = take(raw[_K], at + c)
        direction = key * take(work, _K_K + c) * scale
        change = (rate - number(1.0)) * take(work, _K_A + c)
        put(work, p + K + c, key + key * change)
        put(work, p + A + c, number(0.0) - direction)
        put(work, p + B + c, direction * rate)
        put(work, p + R + c, take(raw[_R], at + c))
        value = take(raw[_V], at + c)
        if mixed:
            share = sigmoid(take(work, _V0 + c) + take(raw[_MIX], at + c))
            put(work, p + _SHARE + c, share)
            value = value + (take(raw[_FIRST], at + c) - value) * share
        put(work, p + V + c, value)


@compiled
def _removal_scale(k: Start, at: int, work: Start) -> Any:
    """One over the length of k * k_k."""
    square = number(0.0)
    for c in range(0, SIZE, LANES):
        removal = take(k, at + c) * take(work, _K_K + c)
        square = square + removal * removal
    length = np.sqrt(total(square))
    return _ONE / (np.float32(1e-12) if length < np.float32(1e-12) else length)


@compiled
def _finish(gate: Start, at: int, work: Start, p: int, out: Start) -> None:
    """The norm of the head, the bonus of the current token and the gate."""
    mean, scale = _moments(work, p)
    bonus = fill(_bonus(work, p))
    for c in range(0, SIZE, LANES):
        y = (take(work, p + Y + c) - mean) * scale * take(work, _WEIGHT + c)
        y = y + take(work, _BIAS + c) + bonus * take(work, p + V + c)
        put(out, at + c, y * take(gate, at + c))


@compiled
def _moments(work: Start, p: int) -> Any:
    """Mean and one over the deviation of what the head read, in all places."""
    summed = number(0.0)
    for c in range(0, SIZE, LANES):
        summed = summed + take(work, p + Y + c)
    mean = fill(total(summed) / _N)
    squares = number(0.0)
    for c in range(0, SIZE, LANES):
        away = take(work, p + Y + c) - mean
        squares = squares + away * away
    return mean, fill(_ONE / np.sqrt(total(squares) / _N + _EPS))


@compiled
def _bonus(work: Start, p: int) -> Any:
    bonus = number(0.0)
    for c in range(0, SIZE, LANES):
        bonus = bonus + take(work, p + R + c) * take(work, p + K + c) * take(work, _R_K + c)
    return total(bonus)


@compiled
def _finish_back(raw: Any, at: int, work: Start, p: int, d_out: Start, d_raw: Any) -> None:
    """Gradients of the gate and of y, and the bonus's part of those of r, k and v."""
    mean, scale = _moments(work, p)
    bonus = fill(_bonus(work, p))
    d_bonus = sum_dy = sum_dy_y = number(0.0)
    for c in range(0, SIZE, LANES):
        weight, v = take(work, _WEIGHT + c), take(work, p + V + c)
        y = (take(work, p + Y + c) - mean) * scale
        put(work, p + Y + c, y)
        whole = y * weight + take(work, _BIAS + c) + bonus * v
        d_gated = take(d_out, at + c)
        put(d_raw[_GATE], at + c, d_gated * whole)
        d_whole = d_gated * take(raw[_GATE], at + c)
        put(work, p + DV + c, d_whole)
        d_bonus = d_bonus + d_whole * v
        sum_dy = sum_dy + d_whole * weight
        sum_dy_y = sum_dy_y + d_whole * weight * y
        _add_to(work, _D_VECTORS + _WEIGHT + c, d_whole * y)
        _add_to(work, _D_VECTORS + _BIAS + c, d_whole)
    all_bonus = fill(total(d_bonus))
    mean_dy, mean_dy_y = fill(total(sum_dy) / _N), fill(total(sum_dy_y) / _N)
    for c in range(0, SIZE, LANES):
        d_whole, y = take(work, p + DV + c), take(work, p + Y + c)
        dy = d_whole * take(work, _WEIGHT + c)
        put(work, p + DY + c, scale * (dy - mean_dy - y * mean_dy_y))
        put(work, p + DV + c, d_whole * bonus)
        r, k = take(work, p + R + c), take(work, p + K + c)
        weighed = all_bonus * take(work, _R_K + c)
        put(work, p + DR + c, weighed * k)
        put(work, p + DK + c, weighed * r)
        _add_to(work, _D_VECTORS + _R_K + c, all_bonus * r * k)


@compiled
def _add_to(sums: Start, at: int, value: Any) -> None:
    put(sums, at, take(sums, at) + value)


@compiled
def _prepare_back(raw: Any, mixed: bool, at: int, work: Start, p: int, d_raw: Any) -> None:
    """Gradients of what the projections gave, from those of what the recurrence took."""
    one = number(1.0)
    for c in range(0, SIZE, LANES):
        put(d_raw[_R], at + c, take(work, p + DR + c))
        fade = take(work, p + _FADE + c)
        d_decay = take(work, p + DW + c) * take(work, p + W + c) * number(_DECAY)
        d_w = d_decay * fade * (one - fade)
        put(d_raw[_W], at + c, d_w)
        _add_to(work, _D_VECTORS + _W0 + c, d_w)
        d_v = take(work, p + DV + c)
        if mixed:
            share = take(work, p + _SHARE + c)
            apart = take(raw[_FIRST], at + c) - take(raw[_V], at + c)
            d_mix = d_v * apart * share * (one - share)
            put(d_raw[_MIX], at + c, d_mix)
            _add_to(work, _D_VECTORS + _V0 + c, d_mix)
            put(d_raw[_FIRST], at + c, d_v * share)
            d_v = d_v * (one - share)
        put(d_raw[_V], at + c, d_v)
    _keys_back(raw[_K], at, work, p, d_raw)


@compiled
def _keys_back(k: Start, at: int, work: Start, p: int, d_raw: Any) -> None:
    """Gradients of k and a from those of the key, its removal's direction and its rate."""
    one, along = number(1.0), number(0.0)
    for c in range(0, SIZE, LANES):
        rate, minus = take(work, p + _RATE + c), take(work, p + A + c)
        d_minus = take(work, p + DA + c) - take(work, p + DB + c) * rate
        put(work, p + DA + c, d_minus)
        along = along + minus * d_minus
        change = take(work, p + DK + c) * take(k, at + c)
        d_rate = change * take(work, _K_A + c) - take(work, p + DB + c) * minus
        d_a = d_rate * rate * (one - rate)
        put(d_raw[_A], at + c, d_a)
        _add_to(work, _D_VECTORS + _A0 + c, d_a)
        _add_to(work, _D_VECTORS + _K_A + c, change * (rate - one))
    scale, shared = take(work, p + _SCALE), fill(total(along))
    for c in range(0, SIZE, LANES):
        minus, rate = take(work, p + A + c), take(work, p + _RATE + c)
        d_removal = (minus * shared - take(work, p + DA + c)) * scale
        _add_to(work, _D_VECTORS + _K_K + c, d_removal * take(k, at + c))
        d_key = take(work, p + DK + c)
        d_k = d_key + d_key * (rate - one) * take(work, _K_A + c)
        put(d_raw[_K], at + c, d_k + d_removal * take(work, _K_K + c))
