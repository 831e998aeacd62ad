"""What a builtin model is made of: its shape, and how its tasks are mixed over the run.

A recipe is a file, one a size (`cpu.yml`, `gpu.yml`); every key is a field below.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from rwkv_rag.tuning.network import NetworkShape

SIZES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Phase:
    """Shares of the tasks until a step of the run, and the batches of reading: (rows, tokens)."""

    until: int
    tasks: dict[str, float]
    reading: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Batches are (rows, tokens).

    word_steps     of the first stage, which trains the vectors of single tokens alone
    word_batch     pairs; tokens of a query, of a passage
    word_lost      the share of a passage's tokens that are left out there
    pair_batch     the same, for the whole model
    scored         the share of positions whose next token is predicted
    vector         numbers of an embedding, at least the width of the shape
    meaning        how many of a token's numbers begin with what the teacher makes of it
    source_weights how often questions of a source are drawn beside the others (1); those made from
                   text have the sources cloze-zh and cloze-en
    dropout        in the reading head, whose questions are few
    decay          the last share of the steps, over which the learning rate falls
    """

    shape: NetworkShape
    steps: int
    phases: tuple[Phase, ...]
    word_steps: int = 1500
    word_lr: float = 3e-3
    word_batch: tuple[int, int, int] = (512, 48, 200)
    word_lost: float = 0.3
    lr: float = 1e-3
    decay: float = 0.3
    weight_decay: float = 0.05
    dropout: float = 0.2
    language_batch: tuple[int, int] = (32, 128)
    pair_batch: tuple[int, int, int] = (64, 32, 128)
    scored: float = 0.33
    vector: int = 384
    meaning: int = 128
    source_weights: dict[str, float] = field(default_factory=dict)
    temperature: float = 0.05
    pair_scale: float = 2.0  # its gradients are small beside those of the reading tasks
    newline: int = 11  # byte 10 has id 11 in every World vocabulary
    seed: int = 20261123

    def phase(self, step: int) -> Phase:
        """The phase that a step of the run belongs to; the last one has no end."""
        return next((each for each in self.phases if step < each.until), self.phases[-1])

    def with_steps(self, steps: int) -> Recipe:
        return replace(self, steps=steps)


def load(size: str) -> Recipe:
    """The recipe of `size`, a name such as "cpu" or the path of a file."""
    path = Path(size) if size.endswith(".yml") else SIZES / f"{size}.yml"
    given: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    shape = NetworkShape(**given.pop("shape"))
    phases = tuple(
        Phase(each.pop("until"), reading=tuple(each.pop("reading")), tasks=each)
        for each in given.pop("phases")
    )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    return Recipe(shape=shape, phases=phases, **values)
