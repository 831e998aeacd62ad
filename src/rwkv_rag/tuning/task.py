"""Learning to continue rows: the losses of a step, and how well rows never trained on are known.

Knows batches and the network, not optimisers or methods. Losses are in nats a scored token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rwkv_rag.rwkv.state import State
from rwkv_rag.tuning.batches import Batch, Batches
from rwkv_rag.tuning.cross_entropy import linear_cross_entropy
from rwkv_rag.tuning.network import Network
from rwkv_rag.tuning.trainer import StepLoss

STRIDE = 32
"""What is read at once is filled up to a multiple of so many tokens: matrix products are prepared,
and what was prepared is kept, for every shape that occurs."""


class LanguageModel(nn.Module):
    """A network and the loss of what it reads, in one module, so that any strategy can wrap it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, ids: Tensor, targets: Tensor, scored: Tensor, lengths: Tensor, *carry: Tensor
    ) -> tuple[Tensor, ...]:
        """The summed loss of the scored `targets` (B, T) of `ids` (B, T), and the state after them.

        The state is the three tensors of `State`, none at the start: Fabric takes only plain
        tuples. Only scored positions go through the head, most of a small model's work.
        """
        hidden, state = self.network.read(ids, State(*carry) if carry else None, lengths)
        loss = linear_cross_entropy(hidden[scored], self.network.head.weight, targets[scored])
        # A part with nothing scored has a gradient too.
        return loss + 0.0 * hidden.sum(), state.wkv, state.att_shift, state.ffn_shift


class LanguageTask:
    """Parts of a step from `batches`: `accumulate` batches, each read in segments of `chunk`.

    `chunk` 0 reads rows at once. `most` makes devices agree on how many segments a batch has:
    they must go forwards and backwards equally often.
    """

    def __init__(
        self,
        batches: Batches,
        device: torch.device,
        *,
        accumulate: int = 1,
        chunk: int = 0,
        most: Callable[[int], int] = lambda count: count,
    ) -> None:
        self._batches, self._device = batches, device
        self._accumulate, self._chunk, self._most = accumulate, chunk, most
        self._step: tuple[int, list[Batch]] = (-1, [])

    def weight(self, step: int) -> float:
        """How many targets this device has in `step`."""
        return float(sum(int(batch.scored.sum()) for batch in self._of(step)))

    def parts(self, model: nn.Module, step: int) -> Iterator[StepLoss]:
        """The losses of `step`, one after another; gradients do not pass between segments."""
        for batch in self._of(step):
            for loss, scored, read in self._segments(model, batch):
                yield StepLoss(loss / max(1, scored), "language", read, scored)

    @torch.no_grad()
    def held_out_loss(
        self, model: nn.Module, *, stop: Callable[[], bool] = lambda: False
    ) -> float | None:
        """Nats a scored token on the rows held back; None where there are none, or on `stop`."""
        total, count = 0.0, 0
        for batch in self._batches.held_out_batches():
            if stop():
                return None
            for loss, scored, _ in self._segments(model, batch):
                total, count = total + float(loss), count + scored
        return total / count if count else None

    def _of(self, step: int) -> list[Batch]:
        if self._step[0] != step:
            first = step * self._accumulate
            numbers = range(first, first + self._accumulate)
            self._step = (step, [self._batches.batch(number) for number in numbers])
        return self._step[1]

    def _segments(self, model: nn.Module, batch: Batch) -> Iterator[tuple[Tensor, int, int]]:
        """Summed loss, scored targets and tokens read of each segment."""
        carry: list[Tensor] = []
        for ids, targets, scored, lengths in self._cut(batch):
            moved = (each.to(self._device) for each in (ids, targets, scored, lengths))
            loss, *carry = model(*moved, *carry)
            yield loss, int(scored.sum()), int(lengths.sum())
            carry = [state.detach() for state in carry]

    def _cut(self, batch: Batch) -> Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Inputs, what follows each, whether that counts, and lengths inside the segment."""
        ids, targets, scored = batch.ids[:, :-1], batch.ids[:, 1:], batch.scored[:, 1:]
        if not self._chunk:
            fill = (0, -ids.shape[1] % STRIDE)
            ids, targets, scored = (pad(each, fill) for each in (ids, targets, scored))
        lengths, size = batch.lengths - 1, self._chunk or ids.shape[1]
        count = self._most(-(-ids.shape[1] // size)) if self._chunk else 1
        for number in range(count):
            place = slice(number * size, (number + 1) * size)
            inside = (lengths - number * size).clamp(0, size)
            if number * size < ids.shape[1]:
                yield ids[:, place], targets[:, place], scored[:, place], inside
            else:  # another device reads on
                yield ids[:, :1], targets[:, :1], scored[:, :1] & False, inside


def agreement(fabric: Any) -> Callable[[int], int]:
    """The largest of all devices' numbers."""
    if fabric.world_size == 1:
        return lambda count: count

    def most(count: int) -> int:
        return int(fabric.all_reduce(torch.tensor(count, device=fabric.device), reduce_op="max"))

    return most
