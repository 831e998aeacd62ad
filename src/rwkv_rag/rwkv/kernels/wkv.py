"""The compiled loops of RWKV-7 (numba): token shift, WKV recurrence, products with a few vectors.

Inference uses `shift_mix`, `wkv`, `products` and `square_relu`, training `recurrence` and
`recurrence_back`. Arrays of activations and weights are float32, or bfloat16 held as uint16;
arithmetic and states are float32 either way. For inference sequences are packed one after another:
sequence b is rows `starts[b]:starts[b + 1]`. Knows arrays, not models.

Everything compiled is in this one file, because numba's disk cache notices changes only in the
file of the function that is called, not in those of the functions it inlines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numba
import numpy as np
from numba import prange, types
from numba.extending import overload
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
Array = NDArray[Any]
Arrays = tuple[Array, ...]

HEAD_SIZE = 64
KEEP = 16  # tokens from one state kept for the backward pass to the next
_DECAY = np.float32(-0.6065306597126334)  # -exp(-0.5)
_GROUP_EPS = np.float32(64e-5)
_LAYER_EPS = np.float32(1e-5)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


class _Compiler(Protocol):
    def __call__(self, function: F, /) -> F: ...


def _compiler(**options: Any) -> _Compiler:
    njit: Any = numba.njit  # its typed overloads know no options given as a dict
    compiler: _Compiler = njit(cache=True, nogil=True, error_model="numpy", **options)
    return compiler


# Sums may be reordered so that they vectorise; NaN and infinity keep their meaning.
_SUMMING = {"reassoc", "contract", "nsz"}
_parallel = _compiler(parallel=True, fastmath=_SUMMING)
_summing = _compiler(fastmath=_SUMMING)
_inlined = _compiler(fastmath=_SUMMING, inline="always")
# Without flags of its own a function inherits its caller's `reassoc`.
_exact = _compiler(fastmath={"nsz"})


def _load(value: Any) -> Any:
    """An element of an activation or weight array as float32."""
    raise NotImplementedError("only within kernels")


@overload(_load, inline="always")
def _load_any(value):  # type: ignore[no-untyped-def]  # numba compares bare signatures
    if value == types.uint16:
        return lambda value: np.uint32(np.uint32(value) << np.uint32(16)).view(np.float32)
    return lambda value: np.float32(value)


def _rounded(value: Any, array: Any) -> Any:
    """A float32 as an element of `array`: itself, or rounded to the nearest bfloat16."""
    raise NotImplementedError("only within kernels")


@overload(_rounded, inline="always")
def _rounded_any(value, array):  # type: ignore[no-untyped-def]
    if array.dtype == types.uint16:
        return lambda value, array: _bfloat16(value)
    return lambda value, array: value


@_exact
def _bfloat16(value: Any) -> Any:
    bits = np.float32(value).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    nearest = (bits + np.uint32(0x7FFF) + even) >> np.uint32(16)
    # Rounding the bits of a NaN could carry them into an infinity or a zero.
    return np.uint16(nearest) if value == value else np.uint16(0x7FC0)


@_exact
def _exp(x: Any) -> Any:
    """exp in float32 to 2 units in the last place; written so that loops over it vectorise."""
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    x = np.float32(88.0) if x > np.float32(88.0) else x
    # Adding 1.5 * 2**23 leaves the nearest whole number in the low bits of the mantissa.
    shifted = x * np.float32(1.44269504) + np.float32(12582912.0)
    whole = shifted - np.float32(12582912.0)
    rest = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    bits = (np.float32(shifted).view(np.uint32) << np.uint32(23)) + np.uint32(0x3F800000)
    power = np.uint32(bits).view(np.float32)
    series = np.float32(1.98756912e-4) * rest + np.float32(1.39819996e-3)
    series = series * rest + np.float32(8.33345205e-3)
    series = series * rest + np.float32(4.16657962e-2)
    series = series * rest + np.float32(1.66666657e-1)
    series = series * rest + np.float32(0.5)
    return (series * rest * rest + rest + _ONE) * power


@_exact
def _sigmoid(x: Any) -> Any:
    return _ONE / (_ONE + _exp(-x))


@_parallel
def shift_mix(
    x: Array, norm: Array, shift: Array, starts: Array, mixes: Array, normed: Array, out: Array
) -> None:
    """LayerNorm, then the mixes of each token with the one before it.

    x (T, C); norm (2, C) weight and bias; shift (B, C) last normed inputs, updated; mixes (n, C);
    normed (T, C) is written too; out (n, T, C).
    """
    for t in prange(x.shape[0]):
        _normalise(x, norm, t, normed)
    for t in prange(x.shape[0]):
        for n in range(mixes.shape[0]):
            _mix(normed, max(t - 1, 0), mixes, n, t, out)
    for sequence in range(starts.shape[0] - 1):
        t = starts[sequence]
        for n in range(mixes.shape[0]):
            for c in range(x.shape[1]):
                here = normed[t, c]
                out[n, t, c] = _rounded(here + (shift[sequence, c] - here) * mixes[n, c], out)
        for c in range(x.shape[1]):
            shift[sequence, c] = normed[starts[sequence + 1] - 1, c]


@_summing
def _normalise(x: Array, norm: Array, t: int, out: Array) -> None:
    width = x.shape[1]
    mean = _ZERO
    for c in range(width):
        mean += x[t, c]
    mean /= np.float32(width)
    variance = _ZERO
    for c in range(width):
        variance += (x[t, c] - mean) * (x[t, c] - mean)
    scale = _ONE / np.sqrt(variance / np.float32(width) + _LAYER_EPS)
    for c in range(width):
        out[t, c] = (x[t, c] - mean) * scale * norm[0, c] + norm[1, c]


@_summing
def _mix(normed: Array, previous: int, mixes: Array, n: int, t: int, out: Array) -> None:
    for c in range(normed.shape[1]):
        here = normed[t, c]
        out[n, t, c] = _rounded(here + (normed[previous, c] - here) * mixes[n, c], out)


@_parallel
def wkv(
    raw: Arrays, first: Array, mixed: bool, vectors: Array, state: Array, starts: Array, out: Array
) -> None:
    """Everything of the time mix between its projections, with the recurrence in the middle.

    raw: r, k, v, what is added to w0, a0 and v0, and the gate, each (T, H, N); first (T, H, N): the
    first block's values, mixed into v where `mixed`; vectors (8, H, N): w0, a0, v0, k_k, k_a, r_k,
    and ln_x weight and bias; state (B, H, V, K), updated; out (T, H, N).
    """
    for unit in prange(state.shape[0] * state.shape[1]):
        sequence = unit // state.shape[1]
        head = unit - sequence * state.shape[1]
        work = np.empty((8, HEAD_SIZE), np.float32)
        for t in range(starts[sequence], starts[sequence + 1]):
            # Whole arrays with indices: a view of one would count references, in every turn.
            _decays(raw[3], vectors, t, head, work)
            _keys(raw[1], raw[4], vectors, t, head, work)
            _values(raw, first, mixed, vectors, t, head, work)
            _recur(state, sequence, head, work)
            _finish(work, vectors, raw[6], t, head, out)


@_summing
def _decays(w: Array, vectors: Array, t: int, head: int, work: Array) -> None:
    for c in range(HEAD_SIZE):
        work[1, c] = _exp(_DECAY * _sigmoid(vectors[0, head, c] + _load(w[t, head, c])))


@_summing
def _keys(k: Array, a: Array, vectors: Array, t: int, head: int, work: Array) -> None:
    """The key, the direction to be removed, and that times the in-context learning rate."""
    square = _ZERO
    for c in range(HEAD_SIZE):
        removal = _load(k[t, head, c]) * vectors[3, head, c]
        square += removal * removal
    length = np.sqrt(square)
    scale = _ONE / (np.float32(1e-12) if length < np.float32(1e-12) else length)
    for c in range(HEAD_SIZE):
        rate = _sigmoid(vectors[1, head, c] + _load(a[t, head, c]))
        key = _load(k[t, head, c])
        removal = key * vectors[3, head, c] * scale
        work[2, c] = key * (_ONE + (rate - _ONE) * vectors[4, head, c])
        work[4, c] = removal
        work[5, c] = removal * rate


@_summing
def _values(
    raw: Arrays, first: Array, mixed: bool, vectors: Array, t: int, head: int, work: Array
) -> None:
    for c in range(HEAD_SIZE):
        work[0, c] = _load(raw[0][t, head, c])
        work[3, c] = _load(raw[2][t, head, c])
    if mixed:
        for c in range(HEAD_SIZE):
            share = _sigmoid(vectors[2, head, c] + _load(raw[5][t, head, c]))
            work[3, c] += (_load(first[t, head, c]) - work[3, c]) * share


@_summing
def _recur(state: Array, sequence: int, head: int, work: Array) -> None:
    """One step of the state (V, K); its product with work[4] goes to work[7], y to work[6]."""
    for row in range(HEAD_SIZE):
        recalled = _ZERO
        for c in range(HEAD_SIZE):
            recalled += state[sequence, head, row, c] * work[4, c]
        work[7, row] = recalled
        value = work[3, row]
        read = _ZERO
        for c in range(HEAD_SIZE):
            kept = state[sequence, head, row, c] * work[1, c] - recalled * work[5, c]
            kept += value * work[2, c]
            state[sequence, head, row, c] = kept
            read += kept * work[0, c]
        work[6, row] = read


@_summing
def _finish(work: Array, vectors: Array, gate: Array, t: int, head: int, out: Array) -> None:
    """GroupNorm of the head, the bonus of the current token, and the gate."""
    mean = _ZERO
    bonus = _ZERO
    for c in range(HEAD_SIZE):
        mean += work[6, c]
        bonus += work[0, c] * work[2, c] * vectors[5, head, c]
    mean /= np.float32(HEAD_SIZE)
    variance = _ZERO
    for c in range(HEAD_SIZE):
        variance += (work[6, c] - mean) * (work[6, c] - mean)
    scale = _ONE / np.sqrt(variance / np.float32(HEAD_SIZE) + _GROUP_EPS)
    for c in range(HEAD_SIZE):
        normed = (work[6, c] - mean) * scale * vectors[6, head, c] + vectors[7, head, c]
        value = (normed + bonus * work[3, c]) * _load(gate[t, head, c])
        out[t, head, c] = _rounded(value, out)


@_parallel
def products(weight: Array, x: Array, source: Array, out: Array) -> None:
    """`out[b, row] = weight[row] · x[source[row] + b]` for the few vectors of a decoding step.

    weight (rows, n); x (m, n); source (rows,) row of x; out (B, rows). Reads the weights once,
    at the speed of memory, where library products are made for many vectors.
    """
    wide = np.empty(x.shape, np.float32)
    for m in range(x.shape[0]):
        for c in range(x.shape[1]):
            wide[m, c] = _load(x[m, c])
    for row in prange(weight.shape[0]):
        for b in range(out.shape[0]):
            out[b, row] = _rounded(_dot(weight[row], wide[source[row] + b]), out)


@_summing
def _dot(weight: Array, x: Array) -> Any:
    total = _ZERO
    for c in range(x.shape[0]):
        total += _load(weight[c]) * x[c]
    return total


@_parallel
def square_relu(x: Array) -> None:
    """relu(x)**2 of each number of x (T, n), in place."""
    for t in prange(x.shape[0]):
        _square_row(x[t])


@_summing
def _square_row(x: Array) -> None:
    for c in range(x.shape[0]):
        value = _load(x[c])
        # Comparing this way round lets NaN through.
        x[c] = _rounded(_ZERO if value < _ZERO else value * value, x)


@_parallel
def recurrence(inputs: Arrays, state: Array, kept: Array, y: Array) -> None:
    """The recurrence alone, as training needs it: `y` (B, T, H, N); `state` (B, H, V, K) moves on.

    inputs: r, log of the decay, k, v, a, b of `tuning.wkv.wkv7`, each (B, T, H, N); kept (B, H,
    T / KEEP rounded up, V, K) gets the states before tokens 0, KEEP, 2 KEEP, …
    """
    for unit in prange(state.shape[0] * state.shape[1]):
        n = unit // state.shape[1]
        h = unit - n * state.shape[1]
        work = np.empty((8, HEAD_SIZE), np.float32)
        for t in range(y.shape[1]):
            if t % KEEP == 0:
                kept[n, h, t // KEEP] = state[n, h]
            _read_inputs(inputs, n, t, h, work)
            _recur(state, n, h, work)
            y[n, t, h] = work[6]


@_summing
def _read_inputs(inputs: Arrays, n: int, t: int, h: int, work: Array) -> None:
    r, log_w, k, v, a, b = inputs
    for c in range(HEAD_SIZE):
        work[0, c] = r[n, t, h, c]
        work[1, c] = _exp(log_w[n, t, h, c])
        work[2, c] = k[n, t, h, c]
        work[3, c] = v[n, t, h, c]
        work[4, c] = -a[n, t, h, c]
        work[5, c] = b[n, t, h, c]


@_parallel
def recurrence_back(
    inputs: Arrays, kept: Array, d_y: Array, d_state: Array, d_inputs: Array
) -> None:
    """Gradients of `recurrence`: d_inputs (6, B, T, H, N) in the order of `inputs`.

    d_state (B, H, V, K) goes in as the gradient of the last state, comes out as that of the first.
    States are computed again from those in `kept`.
    """
    for unit in prange(d_state.shape[0] * d_state.shape[1]):
        n = unit // d_state.shape[1]
        h = unit - n * d_state.shape[1]
        states = np.empty((1, KEEP + 1, HEAD_SIZE, HEAD_SIZE), np.float32)
        work = np.empty((KEEP, 8, HEAD_SIZE), np.float32)
        grads = np.empty((7, HEAD_SIZE), np.float32)
        slope = np.empty((HEAD_SIZE, HEAD_SIZE), np.float32)
        slope[:] = d_state[n, h]
        for chunk in range(kept.shape[2] - 1, -1, -1):
            first = chunk * KEEP
            count = min(KEEP, d_y.shape[1] - first)
            states[0, 0] = kept[n, h, chunk]
            for i in range(count):
                states[0, i + 1] = states[0, i]
                _read_inputs(inputs, n, first + i, h, work[i])
                _recur(states, 0, i + 1, work[i])
            for i in range(count - 1, -1, -1):
                grads[6] = d_y[n, first + i, h]
                _recur_back(states, i, slope, work, grads)
                for c in range(HEAD_SIZE):
                    grads[1, c] *= work[i, 1, c]  # from the decay to its logarithm
                d_inputs[:, n, first + i, h] = grads[:6]
        d_state[n, h] = slope


@_inlined
def _recur_back(states: Array, i: int, slope: Array, work: Array, grads: Array) -> None:
    """Gradients of one step of `_recur` from that of y, grads[6]; `slope` is that of the state.

    Four rows at a time, so that what belongs to all rows is loaded once for four.
    """
    grads[:6] = _ZERO
    for row in range(0, HEAD_SIZE, 4):
        y0, y1, y2, y3 = grads[6, row], grads[6, row + 1], grads[6, row + 2], grads[6, row + 3]
        v0, v1 = work[i, 3, row], work[i, 3, row + 1]
        v2, v3 = work[i, 3, row + 2], work[i, 3, row + 3]
        m0, m1 = work[i, 7, row], work[i, 7, row + 1]
        m2, m3 = work[i, 7, row + 2], work[i, 7, row + 3]
        dv0 = dv1 = dv2 = dv3 = dm0 = dm1 = dm2 = dm3 = _ZERO
        for c in range(HEAD_SIZE):
            r, k, b = work[i, 0, c], work[i, 2, c], work[i, 5, c]
            g0 = slope[row, c] + y0 * r
            g1 = slope[row + 1, c] + y1 * r
            g2 = slope[row + 2, c] + y2 * r
            g3 = slope[row + 3, c] + y3 * r
            slope[row, c], slope[row + 1, c], slope[row + 2, c], slope[row + 3, c] = g0, g1, g2, g3
            dv0, dv1, dv2, dv3 = dv0 + g0 * k, dv1 + g1 * k, dv2 + g2 * k, dv3 + g3 * k
            dm0, dm1, dm2, dm3 = dm0 + g0 * b, dm1 + g1 * b, dm2 + g2 * b, dm3 + g3 * b
            s0, s1 = states[0, i, row, c], states[0, i, row + 1, c]
            s2, s3 = states[0, i, row + 2, c], states[0, i, row + 3, c]
            e0, e1 = states[0, i + 1, row, c], states[0, i + 1, row + 1, c]
            e2, e3 = states[0, i + 1, row + 2, c], states[0, i + 1, row + 3, c]
            grads[0, c] += y0 * e0 + y1 * e1 + y2 * e2 + y3 * e3
            grads[1, c] += g0 * s0 + g1 * s1 + g2 * s2 + g3 * s3
            grads[2, c] += g0 * v0 + g1 * v1 + g2 * v2 + g3 * v3
            grads[5, c] -= g0 * m0 + g1 * m1 + g2 * m2 + g3 * m3
        grads[3, row], grads[3, row + 1], grads[3, row + 2], grads[3, row + 3] = dv0, dv1, dv2, dv3
        for c in range(HEAD_SIZE):
            w, a = work[i, 1, c], work[i, 4, c]
            s0, s1 = states[0, i, row, c], states[0, i, row + 1, c]
            s2, s3 = states[0, i, row + 2, c], states[0, i, row + 3, c]
            grads[4, c] += dm0 * s0 + dm1 * s1 + dm2 * s2 + dm3 * s3
            slope[row, c] = slope[row, c] * w - dm0 * a
            slope[row + 1, c] = slope[row + 1, c] * w - dm1 * a
            slope[row + 2, c] = slope[row + 2, c] * w - dm2 * a
            slope[row + 3, c] = slope[row + 3, c] * w - dm3 * a
