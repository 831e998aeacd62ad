"""One step of the WKV-7 recurrence, forwards and backwards, for one head.

`S' = S diag(w) + (S a) b^T + v k^T` and `y = S' r`, with S of shape (V, K). States and work lie in
flat arrays: a state takes SIZE * SIZE floats, a token's work one row of SIZE for each name below.
Four rows of a state are taken at a time, so that what belongs to all rows is loaded once for four
and sums do not wait for one another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rwkv_rag.tuning.kernels.lanes import LANES, compiled, fill, get, put, set_one, take, total

Start = Any  # of an array of floats

SIZE = 64
# Rows of a token's work, times SIZE: what the step reads, what it makes, ...
R, W, K, V, A, B, Y, RECALLED = (SIZE * row for row in range(8))
# ... and their gradients. Those of r, k and v hold what is known before the step.
DR, DW, DK, DV, DA, DB, DY, D_RECALLED = (SIZE * row for row in range(8, 16))
SEEN = 16 * SIZE  # dy read from the state before the step
ROWS = 17 * SIZE


@compiled
def step(states: Start, before: int, after: int, work: Start, at: int) -> None:
    """From the state at `before` to the one at `after`, which may be the same; y and S a too."""
    for i in range(0, SIZE, 4):
        s, e = before + i * SIZE, after + i * SIZE
        c0 = c1 = c2 = c3 = fill(np.float32(0.0))
        for j in range(0, SIZE, LANES):
            a = take(work, at + A + j)
            c0 = c0 + take(states, s + j) * a
            c1 = c1 + take(states, s + SIZE + j) * a
            c2 = c2 + take(states, s + 2 * SIZE + j) * a
            c3 = c3 + take(states, s + 3 * SIZE + j) * a
        _keep(work, at + RECALLED + i, c0, c1, c2, c3)
        c0, c1, c2, c3 = _four(work, at + RECALLED + i)
        v0, v1, v2, v3 = _four(work, at + V + i)
        y0 = y1 = y2 = y3 = fill(np.float32(0.0))
        for j in range(0, SIZE, LANES):
            w, b = take(work, at + W + j), take(work, at + B + j)
            k, r = take(work, at + K + j), take(work, at + R + j)
            s0 = take(states, s + j) * w + c0 * b + v0 * k
            s1 = take(states, s + SIZE + j) * w + c1 * b + v1 * k
            s2 = take(states, s + 2 * SIZE + j) * w + c2 * b + v2 * k
            s3 = take(states, s + 3 * SIZE + j) * w + c3 * b + v3 * k
            put(states, e + j, s0)
            put(states, e + SIZE + j, s1)
            put(states, e + 2 * SIZE + j, s2)
            put(states, e + 3 * SIZE + j, s3)
            y0, y1, y2, y3 = y0 + s0 * r, y1 + s1 * r, y2 + s2 * r, y3 + s3 * r
        _keep(work, at + Y + i, y0, y1, y2, y3)


@compiled
def step_back(states: Start, before: int, grad: Start, work: Start, at: int) -> None:
    """Gradients of one step from those of y; adds to those of r, k and v, sets those of w, a, b.

    `grad` (V, K) is that of the state after the step and becomes that of the state before it.
    """
    for j in range(0, SIZE, LANES):
        for row in (DW, DA, DB, SEEN):
            put(work, at + row + j, fill(np.float32(0.0)))
    for i in range(0, SIZE, 4):
        _state_back(states, before + i * SIZE, grad, i, work, at)
        _recall_back(states, before + i * SIZE, grad, i, work, at)
    _read_back(work, at)


@compiled
def _read_back(work: Start, at: int) -> None:
    """The gradient of r from what dy reads of the state before the step.

    The state after it would be another array of a head, and three do not fit the nearest cache.
    """
    c = v = fill(np.float32(0.0))
    for j in range(0, SIZE, LANES):
        c = c + take(work, at + DY + j) * take(work, at + RECALLED + j)
        v = v + take(work, at + DY + j) * take(work, at + V + j)
    c, v = fill(total(c)), fill(total(v))
    for j in range(0, SIZE, LANES):
        dr = take(work, at + DR + j) + take(work, at + SEEN + j) * take(work, at + W + j)
        put(work, at + DR + j, dr + c * take(work, at + B + j) + v * take(work, at + K + j))


@compiled
def _state_back(states: Start, s: int, grad: Start, i: int, work: Start, at: int) -> None:
    g = i * SIZE
    y0, y1, y2, y3 = _four(work, at + DY + i)
    v0, v1, v2, v3 = _four(work, at + V + i)
    c0, c1, c2, c3 = _four(work, at + RECALLED + i)
    dv0 = dv1 = dv2 = dv3 = dc0 = dc1 = dc2 = dc3 = fill(np.float32(0.0))
    for j in range(0, SIZE, LANES):
        r = take(work, at + R + j)
        g0 = take(grad, g + j) + y0 * r
        g1 = take(grad, g + SIZE + j) + y1 * r
        g2 = take(grad, g + 2 * SIZE + j) + y2 * r
        g3 = take(grad, g + 3 * SIZE + j) + y3 * r
        put(grad, g + j, g0)
        put(grad, g + SIZE + j, g1)
        put(grad, g + 2 * SIZE + j, g2)
        put(grad, g + 3 * SIZE + j, g3)
        k, b = take(work, at + K + j), take(work, at + B + j)
        dv0, dv1, dv2, dv3 = dv0 + g0 * k, dv1 + g1 * k, dv2 + g2 * k, dv3 + g3 * k
        dc0, dc1, dc2, dc3 = dc0 + g0 * b, dc1 + g1 * b, dc2 + g2 * b, dc3 + g3 * b
        dk = take(work, at + DK + j) + g0 * v0 + g1 * v1 + g2 * v2 + g3 * v3
        put(work, at + DK + j, dk)
        db = take(work, at + DB + j) + g0 * c0 + g1 * c1 + g2 * c2 + g3 * c3
        put(work, at + DB + j, db)
        s0, s1 = take(states, s + j), take(states, s + SIZE + j)
        s2, s3 = take(states, s + 2 * SIZE + j), take(states, s + 3 * SIZE + j)
        dw = take(work, at + DW + j) + g0 * s0 + g1 * s1 + g2 * s2 + g3 * s3
        put(work, at + DW + j, dw)
        seen = take(work, at + SEEN + j) + y0 * s0 + y1 * s1 + y2 * s2 + y3 * s3
        put(work, at + SEEN + j, seen)
    for n, dv in ((0, dv0), (1, dv1), (2, dv2), (3, dv3)):
        place = at + DV + i + n
        set_one(work, place, get(work, place) + total(dv))
    _keep(work, at + D_RECALLED + i, dc0, dc1, dc2, dc3)


@compiled
def _recall_back(states: Start, s: int, grad: Start, i: int, work: Start, at: int) -> None:
    g = i * SIZE
    c0, c1, c2, c3 = _four(work, at + D_RECALLED + i)
    for j in range(0, SIZE, LANES):
        da = take(work, at + DA + j) + c0 * take(states, s + j)
        da = da + c1 * take(states, s + SIZE + j)
        da = da + c2 * take(states, s + 2 * SIZE + j)
        put(work, at + DA + j, da + c3 * take(states, s + 3 * SIZE + j))
        w, a = take(work, at + W + j), take(work, at + A + j)
        put(grad, g + j, take(grad, g + j) * w + c0 * a)
        put(grad, g + SIZE + j, take(grad, g + SIZE + j) * w + c1 * a)
        put(grad, g + 2 * SIZE + j, take(grad, g + 2 * SIZE + j) * w + c2 * a)
        put(grad, g + 3 * SIZE + j, take(grad, g + 3 * SIZE + j) * w + c3 * a)


@compiled
def _four(work: Start, at: int) -> Any:
    x0, x1 = fill(get(work, at)), fill(get(work, at + 1))
    return x0, x1, fill(get(work, at + 2)), fill(get(work, at + 3))


@compiled
def _keep(work: Start, at: int, x0: Any, x1: Any, x2: Any, x3: Any) -> None:
    set_one(work, at, total(x0))
    set_one(work, at + 1, total(x1))
    set_one(work, at + 2, total(x2))
    set_one(work, at + 3, total(x3))
