"""Batches for training from the arrays that prepare.py wrote. A batch depends only on its step.

Knows the templates of the roles, and no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from recipe import Recipe
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rwkv_rag.rwkv.role import QUERY_TOKENS, ReadIds, embed_ids, matches, read_ids

HELD_OUT = 50  # passages whose number is divisible by this are never trained on


class Ragged:
    """Many token lists in one flat array."""

    def __init__(self, file: np.lib.npyio.NpzFile, name: str) -> None:
        self.flat: NDArray[np.uint16] = file[name]
        self.offsets: NDArray[np.int64] = file[f"{name}_offsets"]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> list[int]:
        ids: list[int] = self.flat[self.offsets[index] : self.offsets[index + 1]].tolist()
        return ids


@dataclass(frozen=True, slots=True)
class Text:
    """Running text: ids (B, T), and which positions' next token is predicted (B, T - 1)."""

    ids: Tensor
    scored: Tensor


class Stream:
    """Stretches of running text."""

    def __init__(self, path: Path, scored: float) -> None:
        self.ids, self.scored = np.load(path)["ids"], scored

    def batch(self, rng: np.random.Generator, rows: int, tokens: int) -> Text:
        starts = rng.integers(0, len(self.ids) - tokens, rows)
        ids = np.stack([self.ids[s : s + tokens] for s in starts]).astype(np.int64)
        scored = rng.random((rows, tokens - 1)) < self.scored
        return Text(torch.from_numpy(ids), torch.from_numpy(scored))


@dataclass(frozen=True, slots=True)
class Spans:
    """Reading rows: ids (B, T), lengths (B,), match (B, T) of `role.matches`, where passages begin
    (B,), start and end of answers (B,) (0: not there), allowed (B, T)."""

    ids: Tensor
    lengths: Tensor
    match: Tensor
    first: Tensor
    start: Tensor
    end: Tensor
    allowed: Tensor


Row = tuple[ReadIds, int, int]


class Passages:
    """Questions with passages; a batch holds a window of each passage."""

    def __init__(
        self,
        path: Path,
        newline: int,
        weights: Mapping[str, float] = MappingProxyType({}),
        *,
        held_out: bool = False,
    ) -> None:
        """`weights`: how often rows of a source are drawn beside those of the others (1)."""
        file = np.load(path)
        self.question, self.passage = Ragged(file, "question"), Ragged(file, "passage")
        self.start, self.end, self.source = file["start"], file["end"], file["source"]
        self.newline = newline
        number = np.arange(len(self.start))
        self.rows = number[(file["group"] % HELD_OUT == 0) == held_out]
        share = np.array([weights.get(name, 1.0) for name in self.source[self.rows].tolist()])
        self.below = np.cumsum(share / share.sum())

    def batch(self, rng: np.random.Generator, rows: int, tokens: int) -> Spans:
        drawn = np.searchsorted(self.below, rng.random(rows), side="right")
        chosen = self.rows[np.minimum(drawn, len(self.rows) - 1)]
        return self.windows(rng, chosen, tokens)

    def windows(self, rng: np.random.Generator, numbers: NDArray[np.int64], tokens: int) -> Spans:
        """The rows with these numbers, a window of each."""
        return collate([self._row(rng, int(i), tokens) for i in numbers], tokens)

    def _row(self, rng: np.random.Generator, index: int, tokens: int) -> Row:
        question, passage = self.question[index], self.passage[index]
        start, end = int(self.start[index]), int(self.end[index])
        room = tokens - 2 - len(question[:QUERY_TOKENS])
        low, high = window(rng, len(passage), room, start, end)
        read = read_ids(question, self.newline, passage[low:high])
        inside = low <= start <= end < high
        shift = read.passage_start - low
        return read, *((start + shift, end + shift) if inside else (0, 0))


def window(
    rng: np.random.Generator, length: int, room: int, start: int, end: int
) -> tuple[int, int]:
    """A stretch of at most `room` tokens: mostly round the answer, sometimes anywhere."""
    if length <= room:
        return 0, length
    first, last = 0, length - room
    if start >= 0 and rng.random() < 0.85:
        first, last = max(0, end + 1 - room), min(start, last)
    low = int(rng.integers(min(first, last), max(first, last) + 1))
    return low, low + room


def collate(rows: list[Row], tokens: int) -> Spans:
    ids, lengths = pad([read.ids for read, _, _ in rows], tokens)
    match, _ = pad([matches(read) for read, _, _ in rows], tokens)
    position = torch.arange(tokens)
    first = torch.tensor([read.passage_start for read, _, _ in rows])
    allowed = (position >= first[:, None]) & (position < lengths[:, None])
    allowed[:, 0] = True
    start, end = (torch.tensor([row[i] for row in rows]) for i in (1, 2))
    return Spans(ids, lengths, match, first, start, end, allowed)


@dataclass(frozen=True, slots=True)
class Couples:
    """Queries and passages that belong together, padded: ids (B, T) and lengths (B,) of both, and
    where a passage of another row is right for a query too (B, B)."""

    query: Tensor
    query_lengths: Tensor
    passage: Tensor
    passage_lengths: Tensor
    same: Tensor


@dataclass(frozen=True, slots=True)
class Strung:
    """The same in one row of ids each, with the offsets (B + 1) at which texts begin."""

    query: Tensor
    query_offsets: Tensor
    passage: Tensor
    passage_offsets: Tensor
    same: Tensor


class Pairs:
    """Queries with the passages that belong to them."""

    def __init__(self, path: Path, newline: int, *, held_out: bool = False) -> None:
        file = np.load(path)
        self.query, self.positive = Ragged(file, "query"), Ragged(file, "positive")
        self.group, self.newline = file["group"], newline
        number = np.arange(len(self.group))
        kept = (self.group % HELD_OUT == 0) == held_out
        sources = file["source"]
        self.by_source = [number[kept & (sources == s)] for s in np.unique(sources)]
        self.by_source = [rows for rows in self.by_source if len(rows)]
        sizes = np.array([len(rows) for rows in self.by_source])
        self.share = sizes / sizes.sum()

    def batch(self, rng: np.random.Generator, rows: int, query_tokens: int, tokens: int) -> Couples:
        """Half of the batches come from one source, where telling passages apart is hardest."""
        queries, passages, same = self._texts(rng, rows, query_tokens, tokens)
        return Couples(*pad(queries, query_tokens), *pad(passages, tokens), same)

    def strung(
        self, rng: np.random.Generator, rows: int, query_tokens: int, tokens: int, lost: float = 0.0
    ) -> Strung:
        """Passages lose a share `lost` of their tokens: no single one may tell everything."""
        queries, passages, same = self._texts(rng, rows, query_tokens, tokens)
        passages = [[t for t in each if rng.random() >= lost] or each for each in passages]
        return Strung(*strung(queries), *strung(passages), same)

    def _texts(
        self, rng: np.random.Generator, rows: int, query_tokens: int, tokens: int
    ) -> tuple[list[list[int]], list[list[int]], Tensor]:
        chosen = self._draw(rng, rows)
        group = torch.from_numpy(self.group[chosen])
        same = (group[:, None] == group) & ~torch.eye(rows, dtype=torch.bool)
        queries = [embed_ids(self.query[i], query_tokens - 1) for i in chosen]
        passages = [embed_ids(self.positive[i], tokens - 1) for i in chosen]
        return queries, passages, same

    def _draw(self, rng: np.random.Generator, rows: int) -> NDArray[np.int64]:
        source = self.by_source[rng.choice(len(self.by_source), p=self.share)]
        if rng.random() < 0.5 or len(source) < rows:
            source = np.concatenate(self.by_source)
        return rng.choice(source, rows, replace=False)

    def rarity(self, vocab: int) -> NDArray[np.float32]:
        """The logarithm of each token's inverse document frequency (V,), over the passages."""
        seen = np.zeros(vocab)
        passages = np.unique(self.group, return_index=True)[1]
        for index in passages:
            seen[np.unique(self.positive[index])] += 1
        inverse = np.log((len(passages) + 1) / (seen + 1))
        return np.log(np.maximum(inverse, 0.3)).astype(np.float32)


def strung(lists: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """All lists in one row, and where each begins, with the end of the last (B + 1)."""
    flat = [token for each in lists for token in each]
    return torch.tensor(flat), torch.tensor([0, *map(len, lists)]).cumsum(0)


def pad(lists: Sequence[Sequence[int]], tokens: int) -> tuple[Tensor, Tensor]:
    """Right-padded ids (B, tokens) and lengths (B,)."""
    ids = torch.zeros(len(lists), tokens, dtype=torch.int64)
    for row, values in zip(ids, lists, strict=True):
        row[: len(values)] = torch.tensor(values)
    return ids, torch.tensor([len(values) for values in lists])


Batch = Text | Spans | Couples | Strung
Some = TypeVar("Some", bound=Batch)


def moved(batch: Some, device: torch.device) -> Some:
    """The same batch on another device."""
    tensors = {each.name: getattr(batch, each.name) for each in fields(batch)}
    return replace(batch, **{n: t.to(device, non_blocking=True) for n, t in tensors.items()})


class Steps(Dataset[tuple[str, Batch]]):
    """For the number of a step, the task drawn for it from the recipe's mixture, and its batch."""

    def __init__(self, prepared: Path, recipe: Recipe) -> None:
        self.recipe = recipe
        self.stream = Stream(prepared / "lm.npz", recipe.scored)
        weights = recipe.source_weights
        self.read_rows = Passages(prepared / "reading.npz", recipe.newline, weights)
        self.cloze_rows = Passages(prepared / "cloze.npz", recipe.newline, weights)
        self.pair_rows = Pairs(prepared / "pairs.npz", recipe.newline)

    def __getitem__(self, step: int) -> tuple[str, Batch]:
        rng, weights = self._chance(step), self.recipe.phase(step).tasks
        task = str(rng.choice(list(weights), p=list(weights.values())))
        return task, self.batch(task, rng, step)

    def batch(self, task: str, rng: np.random.Generator, step: int) -> Batch:
        recipe = self.recipe
        if task == "language":
            return self.stream.batch(rng, *recipe.language_batch)
        if task == "pairs":
            return self.pair_rows.batch(rng, *recipe.pair_batch)
        rows = self.cloze_rows if task == "cloze" else self.read_rows
        return rows.batch(rng, *recipe.phase(step).reading)

    def words(self, step: int) -> Strung:
        """The batch of a step of the first stage."""
        recipe = self.recipe
        return self.pair_rows.strung(self._chance(step), *recipe.word_batch, recipe.word_lost)

    def _chance(self, step: int) -> np.random.Generator:
        return np.random.default_rng((self.recipe.seed, step))


def feed(steps: Steps, first: int, workers: int) -> Iterator[tuple[str, Batch]]:
    """Batches from step `first` on, made ahead by `workers` processes (0: when asked)."""
    numbers = range(first, steps.recipe.steps)
    return iter(DataLoader(steps, batch_size=None, sampler=numbers, num_workers=workers))
