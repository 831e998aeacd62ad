"""The compiled loops of `kernels` as operations that autograd knows: bf16 on a CPU.

Each stands for a chain of small operations between two matrix products, which read and write
memory more than they compute. The readable chains are in `network`, and tests compare the two.
Knows tensors, not layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rwkv_rag.rwkv.kernels.threads import exclusive, limit_threads, spread
from rwkv_rag.tuning.kernels import norm_mix as _norm_mix
from rwkv_rag.tuning.kernels import square_relu as _square_relu
from rwkv_rag.tuning.kernels import time_mix as _time_mix

# Operations for each number, about: a mix and its norm; a token's walk through a state.
_MIXING, _WALKING = 32, 512


def fits(x: Tensor, matrices: torch.dtype) -> bool:
    """Whether the loops can stand in: products are in bf16, on a CPU, and nobody is tracing."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return matrices == torch.bfloat16


def norm_mix(
    x: Tensor, norm: torch.nn.LayerNorm, before: Tensor, ends: Tensor, mixes: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """A bf16 mix (B, T, C) of each normed token with the one before it, for each of `mixes`.

    Also what stands normed (B, C) at the last of each row's `ends` (B,) tokens. `before` (B, C)
    stands before the first.
    """
    *mixed, last = _mixed(x.float(), norm.weight, norm.bias, before, ends, *mixes)
    return mixed, last


def time_mix(
    raw: Sequence[Tensor], state: Tensor, ends: Tensor, vectors: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """What the output projection reads (B, T, C), bf16, and the state (B, H, V, K) after `ends`.

    `raw`: r, k, v, w, a, gate of (B, T, C), and where values are mixed in, mix and the first
    layer's values; w, a and mix without w0, a0 and v0. `vectors`: w0, a0, v0, k_k, k_a, r_k, and
    the weight and bias of ln_x. Zeros behind `ends`.
    """
    given = tuple(x.to(torch.bfloat16) for x in raw)
    out: tuple[Tensor, Tensor] = _timed(
        torch.is_grad_enabled(), len(given), state, ends, *given, *vectors
    )
    return out


def square_relu(x: Tensor) -> Tensor:
    """relu(x) ** 2, bf16."""
    out: Tensor = _squared(x.to(torch.bfloat16))
    return out


class _NormMix(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, before: Tensor, ends: Tensor,
        *mixes: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        norm, rows = _stacked((weight, bias)), _stacked(mixes)
        out = [torch.empty(x.shape, dtype=torch.bfloat16) for _ in mixes]
        last = before.float().clone()
        given = (*_flat(x, norm, before, rows), ends.numpy(), x.shape[1])
        _run(_norm_mix.norm_mix, _MIXING * x.numel(), *given, tuple(_flat(*out)), *_flat(last))
        ctx.save_for_backward(x, norm, before, rows, ends, weight)
        ctx.mixes = [mix.shape for mix in mixes]
        return (*out, last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, norm, before, rows, ends, weight = ctx.saved_tensors
        d_x, d_before = torch.empty(x.shape), torch.zeros(before.shape)
        units = len(x) * -(-x.shape[1] // _norm_mix.BLOCK)
        d_norm, d_rows = torch.zeros(units, *norm.shape), torch.zeros(units, *rows.shape)
        _run(
            _norm_mix.norm_mix_back,
            _MIXING * x.numel(),
            *_flat(x, norm, before, rows), ends.numpy(), x.shape[1], tuple(_flat(*grads[:-1])),
            *_flat(grads[-1], d_x, d_before, d_norm, d_rows),
        )  # fmt: skip
        vectors = d_norm.sum(0).to(weight.dtype)
        mixes = [d.view(shape) for d, shape in zip(d_rows.sum(0), ctx.mixes, strict=True)]
        return d_x, vectors[0], vectors[1], d_before, None, *mixes


class _TimeMix(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, saving: bool, count: int, state: Tensor, ends: Tensor, *given: Tensor
    ) -> tuple[Tensor, Tensor]:
        raw, vectors = given[:count], _stacked(given[count:])
        batch, tokens, _ = raw[0].shape
        out, end = torch.empty(raw[0].shape, dtype=torch.bfloat16), _own(state)
        chunks = -(-tokens // _time_mix.KEEP) if saving else 0
        kept = torch.empty(batch, state.shape[1], chunks, *state.shape[2:])
        _run(
            _time_mix.time_mix,
            _WALKING * out.numel(),
            _eight(raw), *_flat(vectors), count == 8, ends.numpy(), tokens, *_flat(end, kept, out),
        )  # fmt: skip
        if saving:
            ctx.save_for_backward(*raw, vectors, ends, kept)
            ctx.vectors = [vector.shape for vector in given[count:]]
        return out, end

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor, d_end: Tensor) -> tuple[Tensor | None, ...]:
        *raw, vectors, ends, kept = ctx.saved_tensors
        d_raw, d_state = [torch.empty_like(x) for x in raw], _own(d_end)
        d_vectors = torch.zeros(len(raw[0]), *vectors.shape)
        _run(
            _time_mix.time_mix_back,
            _WALKING * d_out.numel(),
            _eight(raw), *_flat(vectors), len(raw) == 8, ends.numpy(), raw[0].shape[1],
            *_flat(kept, d_out, d_state), _eight(d_raw), *_flat(d_vectors),
        )  # fmt: skip
        parts = zip(d_vectors.sum(0), ctx.vectors, strict=True)
        return None, None, d_state, None, *d_raw, *(d.view(shape) for d, shape in parts)


class _SquareRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out = torch.empty(x.shape, dtype=x.dtype)
        _run(_square_relu.square_relu, x.numel(), *_flat(x, out))
        ctx.save_for_backward(x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> Tensor:
        d_x = torch.empty(d_out.shape, dtype=d_out.dtype)
        _run(_square_relu.square_relu_back, d_out.numel(), *_flat(*ctx.saved_tensors, d_out, d_x))
        return d_x


_mixed: Any = _NormMix.apply
_timed: Any = _TimeMix.apply
_squared: Any = _SquareRelu.apply


def _run(kernel: Callable[..., None], operations: int, *arguments: Any) -> None:
    with exclusive:
        limit_threads(torch.get_num_threads())
        spread(operations)
        kernel(*arguments)


def _stacked(vectors: Sequence[Tensor]) -> Tensor:
    return torch.stack([vector.detach().float().reshape(-1) for vector in vectors])


def _own(state: Tensor) -> Tensor:
    return state.detach().float().clone(memory_format=torch.contiguous_format)


def _eight(raw: Sequence[Tensor]) -> tuple[Any, ...]:
    """Loops take eight arrays always; where values are not mixed in nothing looks at two."""
    return tuple(_flat(*raw, *raw[: 8 - len(raw)]))


def _flat(*tensors: Tensor) -> list[Any]:
    return [_numbers(tensor.detach().contiguous()).reshape(-1) for tensor in tensors]


def _numbers(tensor: Tensor) -> Any:
    if tensor.dtype == torch.bfloat16:  # which numpy does not know
        return tensor.view(torch.uint16).numpy()
    return tensor.numpy()
