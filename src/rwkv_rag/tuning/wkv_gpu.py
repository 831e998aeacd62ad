"""flash-linear-attention's chunked RWKV-7 in the conventions of this package. Optional.

Their state is (K, V) where ours is (V, K), as the community's files have it; the rest agrees: the
decay is given as its log, and `S a b^T` is added with `a` the negative of the direction removed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor


@cache
def fla_kernel() -> Callable[..., Any] | None:
    """`chunk_rwkv7`, or None where flash-linear-attention is not installed."""
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
    """Outputs (B, T, H, N) and the final state (B, H, V, K), fp32, as of `wkv.wkv7`.

    The kernel takes bf16; decays and states stay fp32.
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
