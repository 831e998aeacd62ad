"""Train the builtin model: one base and the heads of its roles, several tasks in turn.

usage: python training/train.py PREPARED RUN [--steps N] [--threads N] [--compile]

PREPARED is the output of prepare.py; RUN receives checkpoint.pt and metrics.jsonl, and a second
call goes on from there. Tasks of a step (the mixture changes over the run, see `Recipe.mixture`):

language   next-token prediction on text
cloze      find the word that was taken out of a sentence, in its surroundings
read       find the answer to a question in a passage, or say that it is not there
pairs      questions and passages that belong together get like vectors (InfoNCE)
rerank     tell the passage that answers a query from one that does not
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from batches import Pairs, Passages, Stream
from recipe import CPU_SMALL, Recipe
from torch import Tensor, nn
from torch.nn import functional as F

from rwkv_rag.tuning.heads import Heads
from rwkv_rag.tuning.network import Network
from rwkv_rag.tuning.tracking import Bar
from rwkv_rag.tuning.trainer import StepLoss, Trainer, TrainerSettings


class Model(nn.Module):
    """Base and heads as one module, so that one checkpoint holds both."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.base = Network(recipe.shape, tied=True)
        self.heads = Heads(recipe.shape, recipe.rerank_layers)


class Tasks:
    """Makes the loss of a step: draws a task from the mixture, a batch, and runs the model."""

    def __init__(self, model: Model, recipe: Recipe, data: Path) -> None:
        self.model, self.recipe = model, recipe
        self.stream = Stream(data / "lm.npz")
        self.read_rows = Passages(data / "reading.npz", recipe.newline)
        self.cloze_rows = Passages(data / "cloze.npz", recipe.newline)
        self.pair_rows = Pairs(data / "pairs.npz", recipe.newline)

    def __call__(self, step: int) -> StepLoss:
        rng = np.random.default_rng((self.recipe.seed, step))
        weights = self.recipe.mixture(step / self.recipe.steps)
        task = str(rng.choice(list(weights), p=list(weights.values())))
        with torch.autocast("cpu", torch.bfloat16):
            loss, tokens = getattr(self, task)(rng, step / self.recipe.steps)
        return StepLoss(loss, task, tokens)

    def language(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, int]:
        ids = self.stream.batch(rng, *self.recipe.long_batch)
        hidden, _ = self.model.base.hidden(ids)
        keep = torch.from_numpy(rng.random((len(ids), ids.shape[1] - 1)) < self.recipe.scored)
        logits = self.model.base.head(hidden[:, :-1][keep])
        return F.cross_entropy(logits.float(), ids[:, 1:][keep]), ids.numel()

    def read(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, int]:
        return self._span(self.read_rows, rng, progress)

    def cloze(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, int]:
        return self._span(self.cloze_rows, rng, progress)

    def _span(
        self, source: Passages, rng: np.random.Generator, progress: float
    ) -> tuple[Tensor, int]:
        short = progress < self.recipe.short_until
        size = self.recipe.short_batch if short else self.recipe.long_batch
        rows = source.batch(rng, *size)
        scores = self.model.heads.read(
            self.model.base, self.model.heads.states["read"], rows.ids, rows.lengths, rows.match
        )
        scores = scores.masked_fill(~rows.allowed[..., None], -1e4)
        start = F.cross_entropy(scores[..., 0], rows.start)
        return start + F.cross_entropy(scores[..., 1], rows.end), rows.ids.numel()

    def pairs(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, int]:
        query, positive, same = self.pair_rows.batch(rng, *self.recipe.pair_batch)
        embed, state = self.model.heads.embed, self.model.heads.states["embed"]
        q = embed(self.model.base, state, *query)
        p = embed(self.model.base, state, *positive)
        scores = (q @ p.T / self.recipe.temperature).masked_fill(same, -1e4)
        target = torch.arange(len(q))
        loss = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
        return self.recipe.pair_scale * loss, query[0].numel() + positive[0].numel()

    def rerank(self, rng: np.random.Generator, progress: float) -> tuple[Tensor, int]:
        ids, lengths, label = self.pair_rows.judged(rng, *self.recipe.long_batch)
        logits = self.model.heads.rerank(
            self.model.base, self.model.heads.states["rerank"], ids, lengths
        )
        return F.binary_cross_entropy_with_logits(logits, label), ids.numel()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("prepared", type=Path)
    options.add_argument("run", type=Path)
    options.add_argument("--steps", type=int, default=CPU_SMALL.steps)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--compile", action="store_true", help="fuse small operations (needs gcc)")
    given = options.parse_args()

    torch.set_num_threads(given.threads)
    torch.manual_seed(CPU_SMALL.seed)
    recipe = CPU_SMALL.with_steps(given.steps)
    model = Model(recipe)
    if given.compile:
        compile_blocks(model)
    settings = TrainerSettings(
        given.run,
        recipe.steps,
        lr=recipe.lr,
        decay=recipe.decay,
        weight_decay=recipe.weight_decay,
        skip_not_finite=True,  # one bad batch must not end a run of days
    )
    tasks = Tasks(model, recipe, given.prepared)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {asdict(recipe.shape)}")
    with Bar(recipe.steps) as bar:
        Trainer(model, lambda _, step: [tasks(step)], settings, sinks=[bar]).run()


def compile_blocks(model: Model) -> None:
    """Compile each block by itself: all layers share one graph a batch shape."""
    torch._dynamo.config.automatic_dynamic_shapes = False
    torch._dynamo.config.cache_size_limit = 64
    for block in [*model.base.blocks, model.heads.read.ahead, model.heads.read.back]:
        block.compile()


if __name__ == "__main__":
    main()
