"""The loss of a language model from hidden states, without ever holding all logits.

Rows go through the head in chunks, and a chunk's gradient is made while its logits are there: of
65,536 logits a position only CHUNK rows exist at a time, in the type of the head. Knows neither
networks nor batches; which positions count is the caller's choice of rows.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CHUNK = 512
STRIDE = 64  # oneDNN keeps memory for every number of rows that it has seen, so there are few


def linear_cross_entropy(hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """The sum over rows of the cross-entropy of `hidden` (N, C) through `head` (V, C), in nats.

    `targets` (N,) are token ids. Products are made in the head's type, sums in fp32. The head gets
    a gradient only if it asks for one.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        head = head.to(torch.get_autocast_dtype(device))
    with torch.autocast(device, enabled=False):
        loss: Tensor = _apply(hidden, head, targets)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad
        loss = torch.zeros((), device=hidden.device)
        d_hidden = torch.empty_like(hidden) if wanted[0] else None
        d_head = torch.zeros_like(head) if wanted[1] else None
        padded = F.pad(hidden, (0, 0, 0, -len(hidden) % STRIDE)).to(head.dtype)
        buffer = padded.new_empty(min(CHUNK, len(padded)), len(head))
        for first in range(0, len(padded), CHUNK):
            rows = slice(first, first + CHUNK)
            x, ids = padded[rows], targets[rows]
            logits = torch.mm(x, head.t(), out=buffer[: len(x)])
            loss += _to_gradient(logits[: len(ids)], ids)
            logits[len(ids) :] = 0
            if d_hidden is not None:
                d_hidden[rows] = (logits @ head)[: len(ids)]
            if d_head is not None:
                d_head.addmm_(logits.t(), x)
        ctx.save_for_backward(d_hidden, d_head)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        parts = (None if d is None else d * gradient.to(d.dtype) for d in ctx.saved_tensors)
        return next(parts), next(parts), None


_apply: Any = _LinearCrossEntropy.apply


def _to_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of the rows; `logits` are overwritten by their gradient."""
    row = torch.arange(len(targets), device=targets.device)
    log_p = torch.log_softmax(logits.float(), -1)
    logits.copy_(log_p.exp())
    logits[row, targets] -= 1
    return -log_p[row, targets].sum()
