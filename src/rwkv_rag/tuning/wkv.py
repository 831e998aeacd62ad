"""The WKV-7 recurrence, differentiable: autograd reaches inputs and initial state.

For each head the recurrence is `S = S diag(w) + S a b^T + v k^T`, `y = S r`, with S of shape
(V, K). On a CPU it runs token by token in compiled loops (`rwkv.kernels.wkv`), on a GPU through
flash-linear-attention where that is installed, elsewhere in chunks of matrix products (the "WY"
form of delta-rule networks). `benchmarks/wkv_training.py` compares loops and chunks. Knows nothing
of layers or batches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rwkv_rag.rwkv.kernels.threads import exclusive, limit_threads, spread
from rwkv_rag.rwkv.kernels.wkv import KEEP, recurrence, recurrence_back

CHUNK = 16


def wkv7(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs (B, T, H, N) and the final state (B, H, N, N) from inputs (B, T, H, N).

    `log_w` is the log of the decay, at least -0.60653 each step, which keeps `exp(-cumsum)` of a
    chunk far inside the range of fp32. All arithmetic is fp32 whatever the inputs are, except in
    flash-linear-attention's kernels, which multiply in bf16.
    """
    with torch.autocast(r.device.type, enabled=False):
        inputs = tuple(x.float() for x in (r, log_w, k, v, a, b, state))
        if r.device.type == "cpu":
            return wkv7_loops(*inputs)
        if r.device.type == "cuda" and (kernel := fla_kernel()) is not None:
            return wkv7_fla(*inputs, kernel=kernel)
        return wkv7_chunked(*inputs)


def wkv7_loops(*inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The compiled loops, on a CPU, for fp32 arguments as of `wkv7`."""
    y, end = _loops(*inputs)
    return y, end


class _Loops(torch.autograd.Function):
    """Keeps every KEEP-th state; the backward pass computes those between them again."""

    @staticmethod
    def forward(ctx: Any, r: Tensor, log_w: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        *others, state = rest
        batch, length, heads, size = r.shape
        y = torch.empty(batch, length, heads, size)
        end = state.clone(memory_format=torch.contiguous_format)
        kept = torch.empty(batch, heads, -(-length // KEEP), size, size)
        inputs = [x.contiguous() for x in (r, log_w, *others)]
        with exclusive:
            limit_threads(torch.get_num_threads())
            spread(5 * size * r.numel())
            recurrence(tuple(x.numpy() for x in inputs), end.numpy(), kept.numpy(), y.numpy())
        ctx.save_for_backward(*inputs, kept)
        return y, end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor, d_end: Tensor) -> tuple[Tensor, ...]:
        *inputs, kept = ctx.saved_tensors
        d_inputs = torch.empty(6, *d_y.shape)
        d_state = d_end.clone(memory_format=torch.contiguous_format)
        arrays = (x.numpy() for x in (kept, d_y.contiguous(), d_state, d_inputs))
        with exclusive:
            limit_threads(torch.get_num_threads())
            spread(20 * d_y.shape[-1] * d_y.numel())
            recurrence_back(tuple(x.numpy() for x in inputs), *arrays)
        return (*d_inputs, d_state)


_loops: Any = _Loops.apply


def wkv7_chunked(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The chunked form, on any device, for fp32 arguments as of `wkv7`."""
    batch, length, heads, size = r.shape
    r, log_w, k, v, a, b = (_chunks(x) for x in (r, log_w, k, v, a, b))  # (B, H, n, T, N)
    decay = log_w.cumsum(-2)
    shrink, grow = decay.exp(), (-decay).exp()
    a_in, r_in = (decay - log_w).exp() * a, shrink * r
    b_out, k_out = grow * b, grow * k
    end = shrink[..., -1:, :]  # (B, H, n, 1, N): decay of the whole chunk

    solved = _solve(a_in, b_out, k_out, v)
    from_state, from_values = torch.split(solved, size, -1)  # U = from_state S^T + from_values
    read_b = (r_in @ b_out.mT).tril()
    read_k = (r_in @ k_out.mT).tril()
    y_state = r_in + read_b @ from_state
    y_values = read_b @ from_values + read_k @ v
    b_end, k_end = b_out * end, k_out * end
    carry = torch.diag_embed(end.squeeze(-2)) + from_state.mT @ b_end  # (B, H, n, K, K)
    gain = from_values.mT @ b_end + v.mT @ k_end  # (B, H, n, V, K)

    states = []
    for index in range(carry.shape[2]):
        states.append(state)
        state = state @ carry[:, :, index] + gain[:, :, index]
    y = y_state @ torch.stack(states, 2).mT + y_values
    return y.permute(0, 2, 3, 1, 4).reshape(batch, -1, heads, size)[:, :length], state


def _chunks(x: Tensor) -> Tensor:
    """(B, T, H, N) to (B, H, chunks, CHUNK, N); zeros fill the last chunk and leave S as it is."""
    batch, length, heads, size = x.shape
    x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, -length % CHUNK))
    return x.view(batch, -1, CHUNK, heads, size).permute(0, 3, 1, 2, 4).contiguous()


def _solve(a_in: Tensor, b_out: Tensor, k_out: Tensor, v: Tensor) -> Tensor:
    """(I - L)^-1 [a_in, (a_in k_out^T) v] with L = strictly lower part of a_in b_out^T."""
    lower = (a_in @ b_out.mT).tril(-1)
    right = torch.cat([a_in, (a_in @ k_out.mT).tril(-1) @ v], -1)
    eye = torch.eye(CHUNK, device=lower.device, dtype=lower.dtype)
    solved: Tensor = torch.linalg.solve_triangular(
        eye - lower, right, upper=False, unitriangular=True
    )
    return solved


@cache
def fla_kernel() -> Callable[..., Any] | None:
    """`chunk_rwkv7` of flash-linear-attention, or None where it is not installed."""
    if find_spec("fla") is None:
        return None
    from fla.ops.rwkv7 import chunk_rwkv7

    kernel: Callable[..., Any] = chunk_rwkv7
    return kernel


def wkv7_fla(
    r: Tensor,
    log_w: Tensor,
    k: Tensor,
    v: Tensor,
    a: Tensor,
    b: Tensor,
    state: Tensor,
    *,
    kernel: Callable[..., Any],
) -> tuple[Tensor, Tensor]:
    """As `wkv7`, with the kernel of flash-linear-attention.

    It takes bf16; decays and states stay fp32. Its states are (K, V) where ours are (V, K), as in
    the community's files; the rest agrees.
    """
    half = {"r": r, "k": k, "v": v, "a": a, "b": b}
    y, end = kernel(
        **{name: x.to(torch.bfloat16) for name, x in half.items()},
        w=log_w.float(),
        scale=1.0,
        initial_state=state.float().mT.contiguous(),
        output_final_state=True,
    )
    return y.float(), end.float().mT
