"""Measure reading on the questions that train.py holds back, by source, from its checkpoint.

usage: python training/held_out.py PREPARED RUN [--size cpu]

Prints the loss of start and end together and the F1 of the best span, in tokens, over windows made
as in training. A loss far above that of training says that the model learns its questions by heart.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from batches import Passages, Spans
from recipe import load
from torch.nn import functional as F
from train import Losses, Model

from rwkv_rag.encoders.reader import best_span
from rwkv_rag.evaluation.metrics import mean
from rwkv_rag.rwkv.kernels.threads import limit_threads

ROWS = 32  # at once
ALL = "all"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("prepared", type=Path)
    options.add_argument("run", type=Path)
    options.add_argument("--size", default="cpu", help="the recipe it was trained by")
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()

    limit_threads(given.threads)
    recipe = load(given.size)
    model = Model(recipe)
    kept = torch.load(given.run / "checkpoint.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(kept["module"])
    rows = Passages(given.prepared / "reading.npz", recipe.newline, held_out=True)
    found: dict[str, list[tuple[float, float | None]]] = defaultdict(list)
    for source, loss, f1 in measured(Losses(model.eval(), recipe), rows, recipe.phases[-1].reading):
        for name in (source, ALL):
            found[name].append((loss, f1))
    print(f"step {kept['step']}\n\n| source | questions | loss | F1 |\n|---|--:|--:|--:|")
    for name, figures in sorted(found.items()):
        loss, f1 = mean(x for x, _ in figures), mean(x for _, x in figures if x is not None)
        print(f"| {name} | {len(figures)} | {loss:.3f} | {f1:.3f} |")


def measured(
    losses: Losses, passages: Passages, size: tuple[int, int]
) -> Iterator[tuple[str, float, float | None]]:
    """Source, loss and F1 of each question; no F1 where its window holds no answer."""
    rng = np.random.default_rng(0)
    for first in range(0, len(passages.rows), ROWS):
        numbers = passages.rows[first : first + ROWS]
        rows = passages.windows(rng, numbers, size[1])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            scores = losses.spans(rows)
        for row, number in enumerate(numbers):
            start, end = int(rows.start[row]), int(rows.end[row])
            loss = F.cross_entropy(scores[row, :, 0], rows.start[row])
            loss = loss + F.cross_entropy(scores[row, :, 1], rows.end[row])
            f1 = overlap(scores[row], rows, row, start, end) if start else None
            yield str(passages.source[number]), float(loss), f1


def overlap(scores: torch.Tensor, rows: Spans, row: int, start: int, end: int) -> float:
    """F1 of the tokens of the best span and of those from `start` to `end`."""
    begin = int(rows.first[row])
    _, first, last = best_span(scores[: int(rows.lengths[row])], begin)
    both = max(0, min(end, begin + last) - max(start, begin + first) + 1)
    return 2 * both / (last - first + 1 + end - start + 1)


if __name__ == "__main__":
    main()
