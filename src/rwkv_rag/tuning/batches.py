"""Rows dealt out as rectangles of token ids. Knows no file, no model, and not what is trained.

Every batch follows from the seed and the number of the step alone.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rwkv_rag.errors import InputError
from rwkv_rag.tuning.stored import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

HELD_OUT_AT_MOST = 512
"""Rows; measuring more takes longer and says nothing new."""

_WINDOW = 64  # batches among which rows of like length are brought together


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows side by side, padded on the right with 0.

    ids (B, T) int64; scored (B, T) bool: token t is a target, never the first; lengths (B,) int64.
    """

    ids: Tensor
    scored: Tensor
    lengths: Tensor


class Batches:
    """Deals rows out; step n is always the same batch, so that a resumed training repeats a killed.

    Held-out rows are whole rows, chosen by a hash of (seed, content): equal rows stay on one side.
    Rows longer than `context` are cut into pieces, the last of which is whole and has its answer
    with as much before it as fits; a piece shares one token with the next, so every target is kept.
    Pieces without a target are left out. `context` 0 leaves all rows whole, as infinite context
    wants them. With several devices, each gets its share of the same global batch.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        batch: int,
        context: int,
        seed: int,
        held_out: float,
        device_index: int = 0,
        devices: int = 1,
    ) -> None:
        if batch < 1 or devices < 1 or not (context == 0 or context > 1) or not 0 <= held_out < 1:
            raise InputError(
                "a batch of {batch} rows, a context of {context} tokens and a held-out share "
                "of {held_out} are not possible; give at least 1, 2 and from 0 to below 1",
                batch=batch,
                context=context,
                held_out=held_out,
            )
        self._rows, self._seed = rows, seed
        self._batch, self._devices, self._device = batch, devices, device_index
        self._context = context or rows.longest
        train, self.held_out = split(rows, share=held_out, seed=seed)
        self.cut = int(np.count_nonzero(rows.sizes[train] > self._context))
        self._pieces = _pieces(rows, train, self._context)
        if not len(self._pieces):
            raise InputError(
                "no row has anything to learn; check what is scored, or give more rows"
            )
        self._order: tuple[int, list[Ints]] = (-1, [])

    @property
    def rows_per_epoch(self) -> int:
        """Rows, or pieces of rows, that one pass over the data trains on, all devices together."""
        return len(self._pieces)

    @property
    def batches_per_epoch(self) -> int:
        """Calls of `batch` that one pass over the data takes."""
        return -(-len(self._pieces) // (self._batch * self._devices))

    def batch(self, step: int) -> Batch:
        """The batch of step `step`, from 0, for this device."""
        epoch, place = divmod(step, self.batches_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._shuffled(epoch))
        chosen = self._order[1][place][self._device :: self._devices]
        return self._rectangle(self._pieces[chosen])

    def held_out_batches(self) -> list[Batch]:
        """The rows never trained on, cut as the others are; the same on every device."""
        pieces = _pieces(self._rows, self.held_out, self._context)
        pieces = pieces[np.argsort(pieces[:, 2], kind="stable")]
        starts = range(0, len(pieces), self._batch)
        return [self._rectangle(pieces[start : start + self._batch]) for start in starts]

    def _shuffled(self, epoch: int) -> list[Ints]:
        """The pieces of one epoch in batches: random, but neighbours are of like length."""
        random = np.random.default_rng((self._seed & 0xFFFFFFFF, epoch))
        order = random.permutation(len(self._pieces))
        whole = self._batch * self._devices
        lengths = self._pieces[:, 2]
        batches: list[Ints] = []
        for start in range(0, len(order), whole * _WINDOW):
            window = order[start : start + whole * _WINDOW]
            window = window[np.argsort(lengths[window], kind="stable")]
            batches += [window[at : at + whole] for at in range(0, len(window), whole)]
        short = -len(batches[-1]) % self._devices
        if short:  # every device takes part in every step
            batches[-1] = np.concatenate([batches[-1], np.resize(order, short)])
        return [batches[at] for at in random.permutation(len(batches))]

    def _rectangle(self, pieces: Ints) -> Batch:
        width = int(pieces[:, 2].max())
        ids = np.zeros((len(pieces), width), np.int64)
        scored = np.zeros((len(pieces), width), np.bool_)
        for line, (row, start, length) in enumerate(pieces.tolist()):
            tokens, targets = self._rows.row(row)
            ids[line, :length] = tokens[start : start + length]
            scored[line, 1:length] = targets[start + 1 : start + length]
        return Batch(
            torch.from_numpy(ids), torch.from_numpy(scored), torch.from_numpy(pieces[:, 2].copy())
        )


def split(rows: Rows, *, share: float, seed: int) -> tuple[Ints, Ints]:
    """Numbers of the rows to train on and of those held out; at least one of each where there are
    two different rows, and none held out where `share` is 0."""
    keys = np.fromiter(
        (_key(seed, rows.content(row)) for row in range(len(rows))), np.uint64, len(rows)
    )
    distinct, counts = np.unique(keys, return_counts=True)
    if share == 0 or len(distinct) < 2:
        return np.arange(len(rows)), np.empty(0, np.int64)
    wanted = min(max(1, round(share * len(rows))), HELD_OUT_AT_MOST)
    small = counts <= max(wanted, int(counts.min()))  # a row repeated often would take too much
    groups = int(np.searchsorted(np.cumsum(counts[small]), wanted)) + 1
    out = np.isin(keys, distinct[small][: min(groups, len(distinct) - 1)])
    return np.flatnonzero(~out), np.flatnonzero(out)


def _key(seed: int, content: bytes) -> int:
    salt = (seed & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, salt=salt).digest(), "big")


def _pieces(rows: Rows, chosen: Ints, context: int) -> Ints:
    """(n, 3): row, first token, tokens of every piece that has a target."""
    flat = array("q")  # 24 bytes a piece; a large file has millions
    for row in chosen:
        for start, end in _cut(int(rows.sizes[row]), context):
            if rows.has_target(int(row), start + 1, end):
                flat.extend((int(row), start, end - start))
    return np.frombuffer(flat, np.int64).reshape(-1, 3) if flat else np.empty((0, 3), np.int64)


def _cut(size: int, context: int) -> Iterator[tuple[int, int]]:
    """From the end, so that the end of a row is never the short piece."""
    end = size
    while end > 1:
        yield max(0, end - context), end
        end = max(0, end - context) + 1
