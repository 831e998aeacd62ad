"""Train the builtin model: one base and the heads of its roles, several tasks in turn.

usage: python training/train.py PREPARED RUN [--size cpu] [--steps N] [--out FOLDER]

PREPARED is the output of prepare.py; RUN receives checkpoint.pt and metrics.jsonl, and a second
call goes on from there. First come the vectors of single tokens (RUN/words), which need no block
and take minutes; then the whole model. At the end it is exported and calibrated. Tasks of a step
(the mixture changes over the run):

language   next-token prediction on text
cloze      find what was taken out of a sentence, in its surroundings
read       find the answer to a question in a passage, or say that it is not there
pairs      questions and passages that belong together get like vectors (InfoNCE)
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from batches import Batch, Couples, Spans, Steps, Strung, Text, feed, moved
from calibrate import calibrate
from export import export
from prepare import DEV
from recipe import Recipe, load
from torch import Tensor, nn
from torch.nn import functional as F

from rwkv_rag.rwkv.kernels.threads import limit_threads
from rwkv_rag.tuning.devices import device_of, open_fabric
from rwkv_rag.tuning.heads import Heads
from rwkv_rag.tuning.network import Network
from rwkv_rag.tuning.tracking import Bar
from rwkv_rag.tuning.trainer import Parts, StepLoss, Trainer, TrainerSettings
from rwkv_rag.types import TuneSettings


class Model(nn.Module):
    """Base and heads as one module, so that one checkpoint holds both."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.base = Network(recipe.shape)
        self.heads = Heads(recipe.shape, recipe.vector, recipe.dropout)


class Losses:
    """What each task asks of the model."""

    def __init__(self, model: Model, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe

    def __call__(self, task: str, batch: Batch, device: torch.device) -> StepLoss:
        batch = moved(batch, device)
        with torch.autocast(device.type, torch.bfloat16):
            loss, tokens = getattr(self, task)(batch)
        return StepLoss(loss, task, tokens)

    def language(self, text: Text) -> tuple[Tensor, int]:
        hidden, _ = self.model.base.hidden(text.ids)
        logits = self.model.base.head(hidden[:, :-1][text.scored])
        return F.cross_entropy(logits.float(), text.ids[:, 1:][text.scored]), text.ids.numel()

    def spans(self, rows: Spans) -> Tensor:
        """Start and end scores (B, T, 2), very low where no answer can be."""
        heads = self.model.heads
        given = (rows.ids, rows.lengths, rows.match, rows.first)
        scores = heads.read(self.model.base, heads.states["read"], *given)
        return scores.masked_fill(~rows.allowed[..., None], -1e4)

    def read(self, rows: Spans) -> tuple[Tensor, int]:
        scores = self.spans(rows)
        start = F.cross_entropy(scores[..., 0], rows.start)
        return start + F.cross_entropy(scores[..., 1], rows.end), rows.ids.numel()

    cloze = read

    def pairs(self, rows: Couples) -> tuple[Tensor, int]:
        embed, state = self.model.heads.embed, self.model.heads.states["embed"]
        q = embed(self.model.base, state, rows.query, rows.query_lengths)
        p = embed(self.model.base, state, rows.passage, rows.passage_lengths)
        loss = self.recipe.pair_scale * self._contrast(q, p, rows.same)
        return loss, rows.query.numel() + rows.passage.numel()

    def words(self, rows: Strung) -> tuple[Tensor, int]:
        embed = self.model.heads.embed
        q = embed.of_words(rows.query, rows.query_offsets)
        p = embed.of_words(rows.passage, rows.passage_offsets)
        return self._contrast(q, p, rows.same), len(rows.query) + len(rows.passage)

    def _contrast(self, q: Tensor, p: Tensor, same: Tensor) -> Tensor:
        """InfoNCE in both directions between vectors (B, D) of queries and passages."""
        scores = (q.float() @ p.float().T / self.recipe.temperature).masked_fill(same, -1e4)
        target = torch.arange(len(q), device=q.device)
        return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("prepared", type=Path)
    options.add_argument("run", type=Path)
    options.add_argument("--size", default="cpu", help="a recipe: cpu, gpu or a file")
    options.add_argument("--steps", type=int, help="instead of the recipe's")
    options.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options.add_argument("--threads", type=int, default=2, help="of a CPU")
    options.add_argument("--workers", type=int, default=0, help="processes that make batches ahead")
    options.add_argument("--out", type=Path, help="the finished model's folder: RUN/model")
    options.add_argument("--name", default="builtin", help="of the finished model")
    options.add_argument("--compile", action="store_true", help="fuse small operations (needs gcc)")
    given = options.parse_args()

    recipe = load(given.size)
    recipe = recipe.with_steps(given.steps or recipe.steps)
    limit_threads(given.threads)
    torch.manual_seed(recipe.seed)
    model = Model(recipe)
    if given.compile:
        compile_blocks(model)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {asdict(recipe.shape)}")
    steps, device = Steps(given.prepared, recipe), device_of(given.device)
    if not (given.run / "checkpoint.pt").exists():
        begin(model, steps, given.prepared / "meanings.npy")
        train_words(model, steps, given.run / "words", device)
    train(model, steps, given.run, device, given.workers)
    out = given.out or given.run / "model"
    export(given.prepared, given.run, out, recipe, given.name)
    calibrate(given.prepared / DEV, out)


def begin(model: Model, steps: Steps, meanings: Path) -> None:
    """Tokens start with what a teacher makes of them, if it was asked, and with their rarity."""
    embed, some = model.heads.embed, steps.recipe.meaning
    table = embed.words.weight.data
    if meanings.exists():
        share = (some / table.shape[1]) ** 0.5
        table[:, :some] = share * principal(torch.from_numpy(np.load(meanings)), some)
    rarity = torch.from_numpy(steps.pair_rows.rarity(len(table)))
    embed.importance.weight.data = rarity[:, None]


def principal(vectors: Tensor, dimensions: int) -> Tensor:
    """Vectors (V, D) in their first principal components (V, dimensions), of unit length."""
    centred = vectors - vectors.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    return F.normalize(centred @ axes[:dimensions].T, dim=1)


def train_words(model: Model, steps: Steps, folder: Path, device: torch.device) -> None:
    """The first stage; the base's table of tokens begins with what it learned."""
    recipe, losses = steps.recipe, Losses(model, steps.recipe)

    def parts(module: nn.Module, step: int) -> Iterator[StepLoss]:
        yield losses("words", steps.words(step), device)

    settings = TrainerSettings(folder, recipe.word_steps, lr=recipe.word_lr, decay=0.9)
    run(model, parts, settings, device)
    learned = model.heads.embed.words.weight.data
    model.base.emb.weight.data = learned[:, : recipe.shape.width].clone()


def train(model: Model, steps: Steps, folder: Path, device: torch.device, workers: int) -> None:
    """The second stage: all tasks in turn."""
    recipe, losses = steps.recipe, Losses(model, steps.recipe)
    made: Iterator[tuple[str, Batch]] | None = None

    def parts(module: nn.Module, step: int) -> Iterator[StepLoss]:
        nonlocal made
        made = made or feed(steps, step, workers)
        torch.manual_seed(recipe.seed + step)  # what is dropped out depends on the step alone
        yield losses(*next(made), device)

    settings = TrainerSettings(
        folder,
        recipe.steps,
        lr=recipe.lr,
        decay=recipe.decay,
        weight_decay=recipe.weight_decay,
        skip_not_finite=True,  # one bad batch must not end a run of days
    )
    run(model, parts, settings, device)


def run(model: Model, parts: Parts, settings: TrainerSettings, device: torch.device) -> None:
    fabric = open_fabric(TuneSettings(name="", data=Path(), device=str(device)))
    with Bar(settings.steps) as bar:
        Trainer(model, parts, settings, fabric=fabric, sinks=[bar]).run()


def compile_blocks(model: Model) -> None:
    """Compile each block by itself: all layers share one graph a batch shape."""
    torch._dynamo.config.automatic_dynamic_shapes = False
    torch._dynamo.config.cache_size_limit = 64
    for block in [*model.base.blocks, model.heads.read.ahead, model.heads.read.back]:
        block.compile()


if __name__ == "__main__":
    main()
