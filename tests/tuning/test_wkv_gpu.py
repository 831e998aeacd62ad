"""The adapter to flash-linear-attention keeps their conventions apart from ours."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from rwkv_rag.tuning.wkv import wkv7, wkv7_chunked, wkv7_fla

NAMES = ("r", "log_w", "k", "v", "a", "b", "state")


def inputs(device: str = "cpu") -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator)

    size = (2, 37, 3, 64)
    kk = torch.nn.functional.normalize(draw(*size), dim=-1)
    log_w = -0.6065 * torch.sigmoid(draw(*size) * 3)
    rate = torch.sigmoid(draw(*size))
    made = [draw(*size), log_w, draw(*size), draw(*size), -kk, kk * rate, draw(2, 3, 64, 64)]
    return [x.to(device).requires_grad_() for x in made]


def documented(
    *, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor,
    scale: float, initial_state: Tensor, output_final_state: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What their documentation says of `chunk_rwkv7`: log decays, a state of (B, H, K, V)."""
    assert all(x.dtype == torch.bfloat16 for x in (r, k, v, a, b)) and output_final_state
    state, outputs = initial_state, []
    for t in range(r.shape[1]):
        kt, vt, at, bt = (x[:, t].float() for x in (k, v, a, b))
        recalled = (at[..., None] * state).sum(-2, keepdim=True)  # (B, H, 1, V)
        state = state * w[:, t].exp()[..., None] + bt[..., None] * recalled
        state = state + kt[..., None] * vt[..., None, :]
        outputs.append((r[:, t, :, :, None].float() * scale * state).sum(-2))
    return torch.stack(outputs, 1).to(r.dtype), state


def test_adapter_keeps_to_their_documentation_forwards_and_backwards() -> None:
    given = inputs()
    weight = torch.randn(2, 37, 3, 64)
    results = []
    for form in (lambda *x: wkv7_fla(*x, kernel=documented), wkv7_chunked):
        y, state = form(*given)
        results.append([y, state, *torch.autograd.grad((y * weight).sum() + state.sum(), given)])
    for name, got, wanted in zip(("y", "end", *NAMES), *results, strict=True):
        assert (got - wanted).norm() < 0.02 * wanted.norm(), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.skipif(find_spec("fla") is None, reason="flash-linear-attention is not installed")
def test_kernel_of_a_gpu_equals_the_chunked_form() -> None:
    given = inputs("cuda")
    results = []
    for form in (wkv7, wkv7_chunked):
        y, state = form(*given)
        results.append([y, state, *torch.autograd.grad(y.square().sum() + state.sum(), given)])
    for name, got, wanted in zip(("y", "end", *NAMES), *results, strict=True):
        assert (got - wanted).norm() < 0.03 * wanted.norm(), name
