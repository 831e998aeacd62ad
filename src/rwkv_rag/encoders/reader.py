"""The read role: where in a passage the answer stands, or that it does not.

The base reads the question, then the passage in windows; two more blocks read its hidden states,
one on, one backwards, so that every token is judged with both sides known. The question is read
once: its state is the start of every window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import gelu, linear

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.embedder import batches
from rwkv_rag.rwkv.block import Block, Packing
from rwkv_rag.rwkv.role import ReadIds, matches, read_ids
from rwkv_rag.types import Reading, SourceSpan

WINDOW_TOKENS = 128  # question and window together, as in training
BATCH_TOKENS = 4096
ANSWER_TOKENS = 32
LEAST = -8.0  # a log-probability below this says no more than that it is small
_EDGES = " \t\n\r　，。、；：！？,.;:!?"
_PAIRS = {"《": "》", "（": "）", "(": ")", "“": "”", "「": "」", '"': '"'}


@dataclass(frozen=True, slots=True)
class _Window:
    passage: int
    first: int  # number of its first token in the passage
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Log-probabilities (T, 2) that the answer starts or ends with a token, at least LEAST, and
    where the tokens end (T,), in bytes of the passage's UTF-8.

    `margin`: by how much the best span is likelier, in logits, than that the answer is not here.
    """

    chances: NDArray[np.float32]
    ends: NDArray[np.int64]
    margin: float

    def scores(self, spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        """Of each of the byte spans (not empty): start's and end's log-probability together."""
        starts, ends = np.array(spans, np.int64).reshape(-1, 2).T
        first = np.searchsorted(self.ends, starts, side="right")
        last = np.searchsorted(self.ends, ends, side="left")
        return np.asarray(self.chances[first, 0] + self.chances[last, 1], np.float32)

    def spans(self, limit: int) -> list[tuple[int, int]]:
        """The likeliest spans of at most ANSWER_TOKENS tokens, best first, in the same bytes."""
        size = len(self.ends)
        both = np.full((min(ANSWER_TOKENS, size), size), -np.inf, np.float32)  # by length and start
        for more, row in enumerate(both):
            row[: size - more] = self.chances[: size - more, 0] + self.chances[more:, 1]
        best = np.argsort(-both, axis=None, kind="stable")[:limit]
        starts = np.concatenate([[0], self.ends])
        found = (divmod(int(each), size) for each in best)
        return [
            (int(starts[first]), int(self.ends[first + more]))
            for more, first in found
            if first + more < size
        ]


class RwkvReader:
    """Implements `interfaces.Reader` on a base. Margins count from the manifest's `read_margin`."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._threshold = base.manifest.read_margin
        self._ahead, self._back = base.block("read.ahead."), base.block("read.back.")
        self._match = base.weight("read.match.weight")
        self._heads = base.model.shape.heads
        self._ask, self._mix, self._out = (
            (base.weight(f"read.{name}.weight"), base.weight(f"read.{name}.bias"))
            for name in ("ask", "mix", "out")
        )
        self._meet = base.weight("read.meet.weight")

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        """The best span of each passage; None where a passage has no text."""
        tokens = [self._base.tokenizer.encode(passage) for passage in passages]
        prefix = read_ids(self._base.tokenizer.encode(question), self._base.newline, []).ids
        windows = [w for n, ids in enumerate(tokens) for w in _windows(n, ids, len(prefix))]
        best: list[tuple[float, int, int] | None] = [None] * len(passages)
        for window, scores in zip(windows, self._window_scores(prefix, windows), strict=True):
            margin, start, end = best_span(scores, len(prefix))
            found = (margin, window.first + start, window.first + end)
            best[window.passage] = max(best[window.passage] or found, found)
        return [
            None if span is None else self._reading(number, passages[number], tokens[number], span)
            for number, span in enumerate(best)
        ]

    def judge(self, question: str, passages: Sequence[str]) -> list[Judgement]:
        """What the head thinks of every token of each passage as start or end of the answer."""
        tokens = [self._base.tokenizer.encode(passage) for passage in passages]
        prefix = read_ids(self._base.tokenizer.encode(question), self._base.newline, []).ids
        windows = [w for n, ids in enumerate(tokens) for w in _windows(n, ids, len(prefix))]
        chances = [np.full((len(ids), 2), LEAST, np.float32) for ids in tokens]
        margins = [2 * LEAST] * len(passages)
        for window, scores in zip(windows, self._window_scores(prefix, windows), strict=True):
            # Index 0, "not here", is a choice too; the question's tokens are none.
            choices = torch.cat([scores[:1], scores[len(prefix) :]]).log_softmax(0)[1:]
            seen = chances[window.passage][window.first : window.first + len(window.ids)]
            np.maximum(seen, choices.numpy(), out=seen)
            margin, _, _ = best_span(scores, len(prefix))
            margins[window.passage] = max(margins[window.passage], margin)
        ends = [self._ends(ids) for ids in tokens]
        return [Judgement(*each) for each in zip(chances, ends, margins, strict=True)]

    def _ends(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        sizes = [len(self._base.tokenizer.token_bytes(token)) for token in tokens]
        return np.cumsum(sizes, dtype=np.int64)

    def _window_scores(
        self, prefix: Sequence[int], windows: Sequence[_Window]
    ) -> list[torch.Tensor]:
        """Start and end scores (prefix and window, 2) of each window."""
        if not windows:
            return []
        asked = self._base.model.forward(
            [prefix], self._base.state("read"), hidden=True, logits=False
        )
        scores = []
        for rows in batches([len(w.ids) + len(prefix) for w in windows], BATCH_TOKENS):
            output = self._base.model.forward(
                [windows[i].ids for i in rows],
                asked.state.select([0] * len(rows)),
                hidden=True,
                logits=False,
            )
            hidden = [
                self._told(asked.hidden[0], h, prefix, windows[i])
                for i, h in zip(rows, output.hidden, strict=True)
            ]
            scores += self._scores(hidden)
        return scores

    def _told(
        self, asked: torch.Tensor, hidden: torch.Tensor, prefix: Sequence[int], window: _Window
    ) -> torch.Tensor:
        """Hidden states (T, C) of prefix and window that know where both meet, and in what."""
        hidden, question = torch.cat([asked, hidden]), asked[1:]
        scores = linear(hidden, *self._ask).relu_() @ linear(question, *self._ask).relu_().T
        found = (scores / hidden.shape[1] ** 0.5).softmax(1) @ question
        read = ReadIds((*prefix, *window.ids), len(prefix))
        match = self._match[torch.tensor(matches(read))]
        return hidden + match + linear(torch.cat([found, found * hidden], 1), self._meet)

    def _scores(self, hidden: list[torch.Tensor]) -> list[torch.Tensor]:
        """Start and end scores (T, 2) of each sequence of hidden states (T, C)."""
        ahead = self._run(self._ahead, hidden)
        back = self._run(self._back, [h.flip(0) for h in hidden])
        both = [torch.cat([a, b.flip(0)], 1) for a, b in zip(ahead, back, strict=True)]
        scores = linear(gelu(linear(torch.cat(both), *self._mix)), *self._out)
        return list(torch.split(scores, [len(h) for h in hidden]))

    def _run(self, block: Block, rows: list[torch.Tensor]) -> list[torch.Tensor]:
        packing = Packing([len(row) for row in rows])
        wkv = torch.zeros(len(rows), self._heads, 64, 64)
        shifts = torch.zeros(2, len(rows), rows[0].shape[1])
        with torch.no_grad():
            out, _ = block.forward(torch.cat(rows), packing, None, wkv, shifts[0], shifts[1])
        return list(torch.split(out, packing.lengths))

    def _reading(
        self, number: int, passage: str, tokens: Sequence[int], best: tuple[float, int, int]
    ) -> Reading:
        margin, first, last = best
        sizes = [len(self._base.tokenizer.token_bytes(t)) for t in tokens[: last + 1]]
        data = passage.encode("utf-8", errors="replace")
        start = len(data[: sum(sizes[:first])].decode("utf-8", errors="ignore"))
        end = len(data[: sum(sizes)].decode("utf-8", errors="replace"))
        span = SourceSpan(number, *trimmed(passage, start, end))
        return Reading(span, margin - self._threshold)


def _windows(passage: int, ids: list[int], used: int) -> list[_Window]:
    """Overlapping stretches of a passage; each token is well inside one of them."""
    room = max(32, WINDOW_TOKENS - used)
    step = max(1, room * 2 // 3)
    last = max(0, len(ids) - room)
    starts = [*range(0, last, step), last] if ids else []
    return [_Window(passage, s, ids[s : s + room]) for s in starts]


def best_span(scores: torch.Tensor, first: int) -> tuple[float, int, int]:
    """The best start and end from token `first` on, counted from it, and the margin over token 0.

    `scores` is (T, 2); a span has at most ANSWER_TOKENS tokens.
    """
    start, end = scores[first:, 0], scores[first:, 1]
    size = len(start)
    both = start[:, None] + end[None, :]
    position = torch.arange(size)
    length = position[None, :] - position[:, None]
    both = both.masked_fill((length < 0) | (length >= ANSWER_TOKENS), -torch.inf)
    best = int(both.argmax())
    margin = float(both.flatten()[best] - scores[0].sum())
    return margin, best // size, best % size


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space, punctuation and unpaired brackets at its edges.

    A span of nothing else is left as it is.
    """
    low, high = start, end
    while low < high and (text[low] in _EDGES or _unpaired(text, low, high, low)):
        low += 1
    while low < high and (text[high - 1] in _EDGES or _unpaired(text, low, high, high - 1)):
        high -= 1
    return (low, high) if low < high else (start, end)


def _unpaired(text: str, low: int, high: int, at: int) -> bool:
    """Whether the bracket or quotation mark at `at` lacks its partner inside the span."""
    inside = text[low:high]
    return any(
        text[at] in pair and (inside.count(pair[0]) + inside.count(pair[1])) % 2 == 1
        for pair in _PAIRS.items()
    )
