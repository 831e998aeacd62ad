"""The compiled loops of RWKV-7 (numba): token shift, WKV recurrence, products with a few vectors.

Knows arrays, not models. Arrays of activations and weights are float32, or bfloat16 held as
uint16; arithmetic and states are float32 either way. Sequences lie packed, one after another:
sequence b is rows `starts[b]:starts[b + 1]`.

Everything compiled lives in this one file: numba's disk cache notices changes per file only.
`reassoc` lets sums be vectorised; NaN and infinity keep their meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
Array = NDArray[Any]

_njit: Any = numba.njit  # its typed overloads know no options given as a dict

HEAD_SIZE = 64
_DECAY = np.float32(-0.6065306597126334)  # -exp(-0.5)
_GROUP_EPS = np.float32(64e-5)
_LAYER_EPS = np.float32(1e-5)
_ONE = np.float32(1.0)


def _parallel(function: F) -> F:
    options = {"parallel": True, "fastmath": {"reassoc", "contract", "nsz"}}
    return cast(F, _njit(cache=True, nogil=True, error_model="numpy", **options)(function))


def _summing(function: F) -> F:
    options = {"fastmath": {"reassoc", "contract", "nsz"}}
    return cast(F, _njit(cache=True, nogil=True, error_model="numpy", **options)(function))


def _exact(function: F) -> F:
    # Without flags of its own a function inherits its caller's `reassoc`.
    options = {"fastmath": {"nsz"}}
    return cast(F, _njit(cache=True, nogil=True, error_model="numpy", **options)(function))


def _bits_to_float(_context: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


def _float_to_bits(_context: Any, value: Any) -> Any:
    """The 32 bits of a float32."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


_float_of: Any = intrinsic(_bits_to_float)
_bits_of: Any = intrinsic(_float_to_bits)


def _load(value: Any) -> Any:
    """An element of an activation or weight array as float32."""
    raise NotImplementedError("only within kernels")


@overload(_load, inline="always")
def _load_any(value):  # type: ignore[no-untyped-def]  # numba compares bare signatures
    if value == types.uint16:
        return lambda value: _float_of(np.uint32(value) << np.uint32(16))
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
    bits = _bits_of(np.float32(value))
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
    power = _float_of((_bits_of(shifted) << np.uint32(23)) + np.uint32(0x3F800000))
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
    mean = np.float32(0.0)
    for c in range(width):
        mean += x[t, c]
    mean /= np.float32(width)
    variance = np.float32(0.0)
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
    raw: tuple[Array, ...],
    gate: Array,
    first: Array,
    mixed: bool,
    vectors: Array,
    state: Array,
    starts: Array,
    out: Array,
) -> None:
    """Everything of the time mix between its projections, with the recurrence in the middle.

    raw: r, k, v and what is added to w0, a0 and v0, each (T, H, N) as the gate is; first
    (T, H, N): the first block's values, mixed into v where `mixed`; vectors (8, H, N): w0, a0, v0,
    k_k, k_a, r_k, and ln_x weight and bias; state (B, H, V, K), updated; out (T, H, N).
    """
    r, k, v, w, a, mix = raw
    for unit in prange(state.shape[0] * state.shape[1]):
        sequence = unit // state.shape[1]
        head = unit - sequence * state.shape[1]
        work = np.empty((7, HEAD_SIZE), np.float32)
        for t in range(starts[sequence], starts[sequence + 1]):
            # Whole arrays with indices: a view of one would count references, in every turn.
            _decays(w, vectors, t, head, work)
            _keys(k, a, vectors, t, head, work)
            _values(r, v, mix, first, mixed, vectors, t, head, work)
            _recur(state, sequence, head, work)
            _finish(work, vectors, gate, t, head, out)


@_summing
def _decays(w: Array, vectors: Array, t: int, head: int, work: Array) -> None:
    for c in range(HEAD_SIZE):
        work[1, c] = _exp(_DECAY * _sigmoid(vectors[0, head, c] + _load(w[t, head, c])))


@_summing
def _keys(k: Array, a: Array, vectors: Array, t: int, head: int, work: Array) -> None:
    """The key, the direction to be removed, and that times the in-context learning rate."""
    square = np.float32(0.0)
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
    r: Array,
    v: Array,
    mix: Array,
    first: Array,
    mixed: bool,
    vectors: Array,
    t: int,
    head: int,
    work: Array,
) -> None:
    for c in range(HEAD_SIZE):
        work[0, c] = _load(r[t, head, c])
        work[3, c] = _load(v[t, head, c])
    if mixed:
        for c in range(HEAD_SIZE):
            share = _sigmoid(vectors[2, head, c] + _load(mix[t, head, c]))
            work[3, c] += (_load(first[t, head, c]) - work[3, c]) * share


@_summing
def _recur(state: Array, sequence: int, head: int, work: Array) -> None:
    """One step of the state (V, K); what it reads goes to work[6]."""
    for row in range(HEAD_SIZE):
        recalled = np.float32(0.0)
        for c in range(HEAD_SIZE):
            recalled += state[sequence, head, row, c] * work[4, c]
        value = work[3, row]
        read = np.float32(0.0)
        for c in range(HEAD_SIZE):
            kept = state[sequence, head, row, c] * work[1, c] - recalled * work[5, c]
            kept += value * work[2, c]
            state[sequence, head, row, c] = kept
            read += kept * work[0, c]
        work[6, row] = read


@_summing
def _finish(work: Array, vectors: Array, gate: Array, t: int, head: int, out: Array) -> None:
    """GroupNorm of the head, the bonus of the current token, and the gate."""
    mean = np.float32(0.0)
    bonus = np.float32(0.0)
    for c in range(HEAD_SIZE):
        mean += work[6, c]
        bonus += work[0, c] * work[2, c] * vectors[5, head, c]
    mean /= np.float32(HEAD_SIZE)
    variance = np.float32(0.0)
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
    total = np.float32(0.0)
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
        x[c] = _rounded(np.float32(0.0) if value < np.float32(0.0) else value * value, x)
