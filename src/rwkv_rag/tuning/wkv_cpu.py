"""The WKV-7 recurrence on a CPU, forwards and backwards: compiled loops in place of matrices.

One state matrix of a head fits the first-level cache, so walking token by token beats the chunked
form of `wkv` several times over (`benchmarks/wkv_training.py` shows by how much). Gradients
recompute states from those kept every KEEP tokens. An operator of torch, so that `torch.compile`
can call it. Numba, because a user's machine need not have a C compiler.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from rwkv_rag.rwkv.kernels.threads import exclusive, limit_threads, spread

KEEP = 16
Floats = NDArray[np.float32]
# Sums may be reordered so that they vectorise; NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract"}


@torch.library.custom_op("rwkv_rag::wkv7", mutates_args=())
def wkv7_cpu(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (B, T, H, N), final state (B, H, N, N) and the kept states, all fp32.

    Arguments as of `wkv.wkv7`, in fp32.
    """
    batch, length, heads, size = r.shape
    y = torch.empty(batch, length, heads, size)
    end = state.clone(memory_format=torch.contiguous_format)
    kept = torch.empty(batch, heads, -(-length // KEEP), size, size)
    with exclusive:
        limit_threads(torch.get_num_threads())
        spread(5 * size * r.numel())
        _forward(*_arrays(r, log_w.exp(), k, v, a, b), *_arrays(end, kept, y))
    return y, end, kept


@wkv7_cpu.register_fake
def _(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    batch, length, heads, size = r.shape
    kept = r.new_empty(batch, heads, -(-length // KEEP), size, size)
    return r.new_empty(r.shape), r.new_empty(state.shape), kept


@torch.library.custom_op("rwkv_rag::wkv7_backward", mutates_args=())
def _wkv7_backward(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    kept: Tensor,
    grad_y: Tensor,
    grad_end: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    grads = [torch.empty(r.shape) for _ in range(6)]
    grad_state = grad_end.clone(memory_format=torch.contiguous_format)
    w = log_w.exp()
    with exclusive:
        limit_threads(torch.get_num_threads())
        spread(20 * r.shape[-1] * r.numel())
        _backward(*_arrays(r, w, k, v, a, b, kept, grad_y), *_arrays(grad_state, *grads))
    grads[1] *= w
    return grads[0], grads[1], grads[2], grads[3], grads[4], grads[5], grad_state


@_wkv7_backward.register_fake
def _(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    kept: Tensor,
    grad_y: Tensor,
    grad_end: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    g = [r.new_empty(r.shape) for _ in range(6)]
    return g[0], g[1], g[2], g[3], g[4], g[5], r.new_empty(grad_end.shape)


def _save(
    ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]
) -> None:
    ctx.save_for_backward(*inputs[:6], output[2])


def _gradient(
    ctx: torch.autograd.function.FunctionCtx, grad_y: Tensor, grad_end: Tensor, _kept: Tensor
) -> tuple[Tensor, ...]:
    saved: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
    gradients: tuple[Tensor, ...] = _wkv7_backward(*saved, grad_y, grad_end)
    return gradients


wkv7_cpu.register_autograd(_gradient, setup_context=_save)


def _arrays(*tensors: Tensor) -> list[Floats]:
    return [tensor.detach().float().contiguous().numpy() for tensor in tensors]


@njit(cache=True, nogil=True, parallel=True, fastmath=_FAST)
def _forward(
    r: Floats, w: Floats, k: Floats, v: Floats, a: Floats, b: Floats,
    end: Floats, kept: Floats, y: Floats,
) -> None:  # fmt: skip
    batch, length, heads, size = r.shape
    for task in prange(batch * heads):
        n, h = task // heads, task % heads
        s = end[n, h]
        for t in range(length):
            if t % KEEP == 0:
                kept[n, h, t // KEEP] = s
            for i in range(size):
                row = s[i]
                removed = np.float32(0)
                for j in range(size):
                    removed += row[j] * a[n, t, h, j]
                read = np.float32(0)
                value = v[n, t, h, i]
                for j in range(size):
                    row[j] = (
                        row[j] * w[n, t, h, j] + removed * b[n, t, h, j] + value * k[n, t, h, j]
                    )
                    read += row[j] * r[n, t, h, j]
                y[n, t, h, i] = read


@njit(cache=True, nogil=True, parallel=True, fastmath=_FAST)
def _backward(
    r: Floats, w: Floats, k: Floats, v: Floats, a: Floats, b: Floats, kept: Floats, grad_y: Floats,
    ds: Floats, dr: Floats, dw: Floats, dk: Floats, dv: Floats, da: Floats, db: Floats,
) -> None:  # fmt: skip
    batch, length, heads, size = r.shape
    for task in prange(batch * heads):
        n, h = task // heads, task % heads
        states = np.empty((KEEP + 1, size, size), np.float32)
        removed = np.empty((KEEP, size), np.float32)
        for chunk in range(kept.shape[2] - 1, -1, -1):
            first = chunk * KEEP
            count = min(KEEP, length - first)
            states[0] = kept[n, h, chunk]
            for c in range(count):
                t = first + c
                _step(
                    states[c], states[c + 1], removed[c],
                    w[n, t, h], k[n, t, h], v[n, t, h], a[n, t, h], b[n, t, h],
                )  # fmt: skip
            for c in range(count - 1, -1, -1):
                t = first + c
                _step_back(
                    states[c], states[c + 1], removed[c], ds[n, h], grad_y[n, t, h],
                    r[n, t, h], w[n, t, h], k[n, t, h], v[n, t, h], a[n, t, h], b[n, t, h],
                    dr[n, t, h], dw[n, t, h], dk[n, t, h], dv[n, t, h], da[n, t, h], db[n, t, h],
                )  # fmt: skip


@njit(cache=True, nogil=True, fastmath=_FAST)
def _step(
    s: Floats, after: Floats, removed: Floats,
    w: Floats, k: Floats, v: Floats, a: Floats, b: Floats,
) -> None:  # fmt: skip
    size = len(w)
    for i in range(size):
        total = np.float32(0)
        for j in range(size):
            total += s[i, j] * a[j]
        removed[i] = total
        for j in range(size):
            after[i, j] = s[i, j] * w[j] + total * b[j] + v[i] * k[j]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _step_back(
    s: Floats, after: Floats, removed: Floats, ds: Floats, dy: Floats,
    r: Floats, w: Floats, k: Floats, v: Floats, a: Floats, b: Floats,
    dr: Floats, dw: Floats, dk: Floats, dv: Floats, da: Floats, db: Floats,
) -> None:  # fmt: skip
    """Gradients of one step; `ds` goes in as that of the state after it and comes out as of `s`."""
    size = len(w)
    for j in range(size):
        dr[j] = dw[j] = dk[j] = da[j] = db[j] = np.float32(0)
    for i in range(size):
        d_value = np.float32(0)
        d_removed = np.float32(0)
        for j in range(size):
            grad = ds[i, j] + dy[i] * r[j]
            ds[i, j] = grad
            dr[j] += after[i, j] * dy[i]
            dk[j] += grad * v[i]
            db[j] += grad * removed[i]
            dw[j] += grad * s[i, j]
            d_value += grad * k[j]
            d_removed += grad * b[j]
        dv[i] = d_value
        for j in range(size):
            da[j] += s[i, j] * d_removed
            ds[i, j] = ds[i, j] * w[j] + d_removed * a[j]
