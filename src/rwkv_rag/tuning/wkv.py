"""The WKV-7 recurrence, differentiable: autograd reaches inputs and initial state.

Per head the recurrence is `S = S diag(w) + S a b^T + v k^T`, `y = S r`, with S of shape (V, K). On
a CPU compiled loops walk it (`wkv_cpu`), on a GPU the kernels of flash-linear-attention where that
is installed; elsewhere it runs in chunks, each solved with matrices (the "WY" form of delta-rule
networks), so that only one small matrix product a chunk stays sequential: `S_next = S M + C`. Knows
nothing of layers or batches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from rwkv_rag.tuning.wkv_cpu import wkv7_cpu

CHUNK = 16


def wkv7(
    r: Tensor, log_w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Outputs (B, T, H, N) and the final state (B, H, N, N) from inputs (B, T, H, N).

    `log_w` is the log of the decay, at least -0.60653 each step, which keeps `exp(-cumsum)` of a
    chunk far inside the range of fp32. All arithmetic is fp32 whatever the inputs are, but for
    the kernels of a GPU, which multiply in bf16.
    """
    with torch.autocast(r.device.type, enabled=False):
        given = tuple(x.float() for x in (r, log_w, k, v, a, b, state))
        if r.device.type == "cpu":
            y, end, _ = wkv7_cpu(*given)
            return y, end
        if r.device.type == "cuda" and (kernel := fla_kernel()) is not None:
            return wkv7_fla(*given, kernel=kernel)
        return wkv7_chunked(*given)


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
