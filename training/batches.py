"""Batches for training from the arrays that prepare.py wrote. A batch depends only on its
generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rwkv_rag.rwkv.role import QUERY_TOKENS, ReadIds, embed_ids, matches, read_ids, rerank_ids

HELD_OUT = 50  # rows whose number is divisible by this are never trained on


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


class Stream:
    """Stretches of running text."""

    def __init__(self, path: Path) -> None:
        self.ids = np.load(path)["ids"]

    def batch(self, rng: np.random.Generator, rows: int, tokens: int) -> Tensor:
        starts = rng.integers(0, len(self.ids) - tokens, rows)
        return torch.from_numpy(
            np.stack([self.ids[s : s + tokens] for s in starts]).astype(np.int64)
        )


@dataclass(frozen=True, slots=True)
class Spans:
    """Reading rows: ids (B, T), lengths (B,), match (B, T) of `role.matches`, start and end (B,)
    (0: not there), allowed (B, T)."""

    ids: Tensor
    lengths: Tensor
    match: Tensor
    start: Tensor
    end: Tensor
    allowed: Tensor


Row = tuple[ReadIds, int, int]


class Passages:
    """Questions with passages; a batch holds a window of each passage."""

    def __init__(self, path: Path, newline: int, *, held_out: bool = False) -> None:
        file = np.load(path)
        self.question, self.passage = Ragged(file, "question"), Ragged(file, "passage")
        self.start, self.end = file["start"], file["end"]
        self.newline = newline
        number = np.arange(len(self.start))
        self.rows = number[(number % HELD_OUT == 0) == held_out]

    def batch(self, rng: np.random.Generator, rows: int, tokens: int) -> Spans:
        chosen = rng.choice(self.rows, rows, replace=False)
        return collate([self._row(rng, int(i), tokens) for i in chosen], tokens)

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
    return Spans(ids, lengths, match, start, end, allowed)


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

    def batch(
        self, rng: np.random.Generator, rows: int, query_tokens: int, tokens: int
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
        """Queries, passages, and where a passage of another row is right for a query too (B, B).

        Half of the batches come from one source, where telling passages apart is hardest.
        """
        chosen = self._draw(rng, rows)
        group = torch.from_numpy(self.group[chosen])
        same = (group[:, None] == group) & ~torch.eye(rows, dtype=torch.bool)
        queries = [embed_ids(self.query[i], query_tokens - 1) for i in chosen]
        passages = [embed_ids(self._crop(rng, i, tokens - 1), tokens - 1) for i in chosen]
        return pad(queries, query_tokens), pad(passages, tokens), same

    def judged(
        self, rng: np.random.Generator, rows: int, tokens: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Document + query rows, half of them with the query of another row (label 0)."""
        chosen = self._draw(rng, rows)
        asked = chosen.copy()
        asked[::2] = np.roll(chosen[::2], 1)
        label = torch.from_numpy(self.group[chosen] == self.group[asked]).float()
        lists = []
        for document, query in zip(chosen, asked, strict=True):
            ids = self.query[query][:QUERY_TOKENS]
            room = tokens - 2 - len(ids)
            text = self._crop(rng, document, room)
            lists.append(rerank_ids(text, self.newline, ids, room))
        return *pad(lists, tokens), label

    def _draw(self, rng: np.random.Generator, rows: int) -> NDArray[np.int64]:
        source = self.by_source[rng.choice(len(self.by_source), p=self.share)]
        if rng.random() < 0.5 or len(source) < rows:
            source = np.concatenate(self.by_source)
        return rng.choice(source, rows, replace=False)

    def _crop(self, rng: np.random.Generator, index: int, tokens: int) -> list[int]:
        return self.positive[index][:tokens]


def pad(lists: Sequence[Sequence[int]], tokens: int) -> tuple[Tensor, Tensor]:
    """Right-padded ids (B, tokens) and lengths (B,)."""
    ids = torch.zeros(len(lists), tokens, dtype=torch.int64)
    for row, values in zip(ids, lists, strict=True):
        row[: len(values)] = torch.tensor(values)
    return ids, torch.tensor([len(values) for values in lists])
