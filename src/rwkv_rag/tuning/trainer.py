"""One training loop: steps, schedule, clipping, checkpoints, metrics. On any devices.

Knows nothing of what is trained: the caller gives a module and a function that makes the losses of
a step. The same step number always asks for the same losses, so a resumed run repeats a killed one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from rwkv_rag.errors import TuningFailed, message
from rwkv_rag.tuning.checkpoints import Checkpoints, PlainCheckpoints, SpreadCheckpoints
from rwkv_rag.tuning.devices import clipped, one_device, spreads
from rwkv_rag.tuning.memory import used_bytes
from rwkv_rag.tuning.optimiser import adamw, cosine, set_rate, warmup_stable_decay
from rwkv_rag.tuning.tracking import MetricsFile, Record, Sink

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FIRST_STEPS = 3  # are slower: kernels are compiled and pages read


@dataclass(frozen=True, slots=True)
class StepLoss:
    """A loss to differentiate, which task it came from and how many tokens it read.

    `weight` is what the mean `loss` was taken over; parts of a step, on one device or several,
    count by it.
    """

    loss: Tensor
    task: str
    tokens: int
    weight: float = 1.0


Parts = Callable[[nn.Module, int], Iterable[StepLoss]]
"""The parts of a step, made one by one from the module and the step's number; each is
differentiated before the next is asked for."""


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """How long and how fast to train. `folder` receives the checkpoint and metrics.jsonl.

    decay           with the schedule "wsd", the share of the steps over which the rate falls
    skip_not_finite whether a step without a finite gradient is left out; else training ends
    """

    folder: Path
    steps: int
    lr: float = 1e-3
    lr_final: float | None = None
    schedule: Literal["wsd", "cosine"] = "wsd"
    warmup: int = 50
    decay: float = 0.25
    weight_decay: float = 0.1
    clip: float = 1.0
    save_every_s: float = 300.0
    skip_not_finite: bool = False


class Trainer:
    """Trains `module` for `settings.steps` steps, going on from the folder's checkpoint if there
    is one.

    `weigh` tells what all parts of a step together count on this device; by it the step's mean is
    taken before its parts are known, so that several small parts equal one large.
    """

    def __init__(
        self,
        module: nn.Module,
        parts: Parts,
        settings: TrainerSettings,
        *,
        fabric: Fabric | None = None,
        weigh: Callable[[int], float] = lambda step: 1.0,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self._fabric = fabric or one_device()
        self._parts, self._weigh, self._settings = parts, weigh, settings
        optimiser = adamw(
            module.named_parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        settings.folder.mkdir(parents=True, exist_ok=True)
        self.module, self._optimiser = self._fabric.setup(module, optimiser)
        self._checkpoints = self._kept(module, optimiser)
        self.step = self._saved_step = 0
        if self._checkpoints.exists():
            self.step = self._saved_step = self._checkpoints.load()
        self._sinks: tuple[Sink, ...] = ()
        if self._fabric.is_global_zero:
            metrics = MetricsFile(settings.folder / "metrics.jsonl", after_step=self.step)
            self._sinks = (metrics, *sinks)
        self._pace = _Pace(settings.steps)

    def _kept(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> Checkpoints:
        folder = self._settings.folder
        if spreads(self._fabric):
            return SpreadCheckpoints(folder, self._fabric, self.module, self._optimiser)
        return PlainCheckpoints(folder, module, optimiser, writes=self._fabric.is_global_zero)

    def run(
        self,
        *,
        after_step: Callable[[int], None] = lambda step: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Train to the last step, or until `stop` says so on any device (False).

        A checkpoint is written every few minutes and at the end. Raises TuningFailed.
        """
        saved, ended = time.monotonic(), False
        while self.step < self._settings.steps and not ended:
            record = self._train_step()
            for sink in self._sinks:
                sink.log(record)
            after_step(self.step)
            due = time.monotonic() - saved > self._settings.save_every_s
            ended, due = self._agreed(stop(), due)
            if due:
                self.save()
                saved = time.monotonic()
        if self._saved_step != self.step or not self._checkpoints.exists():
            self.save()
        return self.step >= self._settings.steps

    def save(self) -> None:
        """Write the checkpoint so that a crash leaves the old or the new one, never half of one."""
        self._checkpoints.save(self.step)
        self._saved_step = self.step

    def _train_step(self) -> Record:
        began = time.monotonic()
        rate = self._rate()
        set_rate(self._optimiser, rate)
        self._optimiser.zero_grad(set_to_none=True)
        loss, tokens, task, memory = self._backward()
        norm = clipped(self._fabric, self.module, self._optimiser, self._settings.clip)
        if math.isfinite(loss) and math.isfinite(norm):
            self._optimiser.step()
        elif not self._settings.skip_not_finite:
            raise self._not_finite(loss, norm)
        self.step += 1
        seconds = time.monotonic() - began
        return {
            "step": self.step,
            "task": task,
            "loss": loss,
            "lr": rate,
            "norm": norm,
            "tokens": tokens,
            "seconds": seconds,
            "tokens_per_s": tokens / seconds,
            "eta_s": self._pace.left(self.step, seconds),
            "memory_bytes": max(memory, used_bytes(self._fabric.device)),
        }

    def _backward(self) -> tuple[float, int, str, int]:
        """Gradients of one step: the mean loss of all devices, tokens read, last task, memory."""
        weight = self._weigh(self.step)
        total = max(float(self._sum(weight)), 1e-9)
        loss, tokens, task, memory = 0.0, 0, "", 0
        for part in self._parts(self.module, self.step):
            # Devices' gradients are averaged, hence their number.
            share = part.weight * self._fabric.world_size / total
            memory = max(memory, used_bytes(self._fabric.device))  # most is held here
            self._fabric.backward(part.loss * share)
            loss += float(part.loss.detach()) * part.weight / total
            tokens, task = tokens + part.tokens, part.task
        loss, read = self._sum(loss, tokens).tolist()
        return loss, int(read), task, memory

    def _sum(self, *values: float) -> Tensor:
        numbers = torch.tensor(values, dtype=torch.float64, device=self._fabric.device)
        if self._fabric.world_size == 1:
            return numbers
        return cast("Tensor", self._fabric.all_reduce(numbers, reduce_op="sum"))

    def _agreed(self, *flags: bool) -> list[bool]:
        """True where it is so for any device: they must stop and save together."""
        return [bool(flag) for flag in self._sum(*map(float, flags)).tolist()]

    def _rate(self) -> float:
        given = self._settings
        falling = (
            cosine
            if given.schedule == "cosine"
            else partial(warmup_stable_decay, decay=given.decay)
        )
        return falling(
            self.step, given.steps, peak=given.lr, final=given.lr_final, warmup=given.warmup
        )

    def _not_finite(self, loss: float, norm: float) -> TuningFailed:
        what = message("the loss is {value:g}", value=loss)
        if math.isfinite(loss):
            what = message("the gradient is {value:g}", value=norm)
        kept = message("nothing was learned yet")
        if self._saved_step:
            kept = message("the checkpoint of step {step} is kept", step=self._saved_step)
        return TuningFailed(
            "{what} at step {step}; {kept}: start again with a lower lr than {lr:g}",
            what=what,
            step=self.step + 1,
            kept=kept,
            lr=self._settings.lr,
        )


class _Pace:
    """Seconds a step as they are lately, for the time still to go."""

    def __init__(self, steps: int) -> None:
        self._steps, self._seen, self._seconds = steps, 0, 0.0

    def left(self, step: int, seconds: float) -> float:
        self._seen += 1
        old = 0.0 if self._seen <= FIRST_STEPS else 0.9
        self._seconds = old * self._seconds + (1 - old) * seconds
        return self._seconds * (self._steps - step)
