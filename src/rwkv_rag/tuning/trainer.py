"""One training loop: steps, schedule, clipping, checkpoints, metrics, progress.

Knows nothing of what is trained: the caller gives a module and a function that makes the loss of a
step. The same step number always asks for the same loss, so a resumed run repeats a killed one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from rwkv_rag.errors import CorruptData
from rwkv_rag.tuning.optimiser import adamw, set_rate, warmup_stable_decay


@dataclass(frozen=True, slots=True)
class StepLoss:
    """The loss of one step, which task it came from and how many tokens it read."""

    loss: Tensor
    task: str
    tokens: int


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """How long and how fast to train. `folder` receives checkpoint.pt and metrics.jsonl."""

    folder: Path
    steps: int
    lr: float = 1e-3
    warmup: int = 50
    decay: float = 0.25
    weight_decay: float = 0.1
    clip: float = 1.0
    save_every_s: float = 300.0


class Trainer:
    """Trains `module` for `settings.steps` steps, going on from the folder's checkpoint if there
    is one.
    """

    def __init__(
        self, module: nn.Module, loss: Callable[[int], StepLoss], settings: TrainerSettings
    ) -> None:
        self._module, self._loss, self._settings = module, loss, settings
        self._optimiser = adamw(
            module.named_parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        self.step = 0
        self._checkpoint = settings.folder / "checkpoint.pt"
        settings.folder.mkdir(parents=True, exist_ok=True)
        if self._checkpoint.exists():
            self._load()

    def run(self, *, after_step: Callable[[int], None] = lambda step: None) -> None:
        """Train to the last step; a checkpoint is written every few minutes and at the end."""
        saved = time.monotonic()
        with self._progress() as progress:
            task = progress.add_task(
                "training", total=self._settings.steps, completed=self.step, speed=0.0, loss=""
            )
            while self.step < self._settings.steps:
                began = time.monotonic()
                record = self._train_step()
                record["seconds"] = time.monotonic() - began
                self._log(record)
                speed = record["tokens"] / record["seconds"]
                text = f"{record['task']} {record['loss']:.3f}"
                progress.update(task, advance=1, speed=speed, loss=text)
                after_step(self.step)
                if time.monotonic() - saved > self._settings.save_every_s:
                    self.save()
                    saved = time.monotonic()
        self.save()

    def _train_step(self) -> dict[str, Any]:
        settings = self._settings
        rate = warmup_stable_decay(
            self.step,
            settings.steps,
            peak=settings.lr,
            warmup=settings.warmup,
            decay=settings.decay,
        )
        set_rate(self._optimiser, rate)
        part = self._loss(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        part.loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self._module.parameters(), settings.clip)
        if torch.isfinite(norm):  # one bad batch must not destroy the run
            self._optimiser.step()
        self.step += 1
        return {
            "step": self.step,
            "task": part.task,
            "loss": float(part.loss.detach()),
            "lr": rate,
            "norm": float(norm),
            "tokens": part.tokens,
        }

    def _log(self, record: dict[str, Any]) -> None:
        with (self._settings.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def save(self) -> None:
        """Write the checkpoint so that a crash leaves the old or the new one, never half of one."""
        part = self._checkpoint.with_suffix(".part")
        torch.save(
            {
                "step": self.step,
                "module": self._module.state_dict(),
                "optimiser": self._optimiser.state_dict(),
            },
            part,
        )
        os.replace(part, self._checkpoint)

    def _load(self) -> None:
        try:
            kept = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
            self._module.load_state_dict(kept["module"])
            self._optimiser.load_state_dict(kept["optimiser"])
        except (RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
            raise CorruptData(
                f"{self._checkpoint} does not fit this training run ({error.__class__.__name__}); "
                "train in another folder, or delete the file to start anew"
            ) from error
        self.step = int(kept["step"])

    @staticmethod
    def _progress() -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]:,.0f} tok/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
