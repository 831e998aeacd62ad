"""What a training run keeps on disk to go on from: written whole or not at all.

Of the module only what trains is kept, with the optimiser's moments and the step. Knows no schedule
and no data. Where a strategy spreads the parameters over devices, it writes its own format.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from rwkv_rag.errors import CorruptData, Message, TuningFailed, message

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FILE = "checkpoint.pt"
SPREAD = "checkpoint"
_UNREADABLE = (RuntimeError, KeyError, ValueError, TypeError, EOFError, OSError, UnpicklingError)


class Checkpoints(Protocol):
    """Where a run is kept and taken up again."""

    def exists(self) -> bool:
        """Whether there is something to go on from."""

    def save(self, step: int) -> None:
        """Keep the run as it is after `step`. TuningFailed where it cannot be written."""

    def load(self) -> int:
        """Take the run up again; returns its step. CorruptData where it does not fit."""


class PlainCheckpoints:
    """One file, for runs in which every process holds all parameters; the first one writes it."""

    def __init__(
        self,
        folder: Path,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        *,
        writes: bool = True,
    ) -> None:
        self.path = folder / FILE
        self._module, self._optimiser, self._writes = module, optimiser, writes

    def exists(self) -> bool:
        return self.path.exists()

    def save(self, step: int) -> None:
        if not self._writes:
            return
        part = self.path.with_suffix(".part")
        content = {
            "step": step,
            "module": {name: tensor.detach() for name, tensor in trained(self._module).items()},
            "optimiser": self._optimiser.state_dict(),
        }
        try:
            with part.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
        except (OSError, RuntimeError) as error:  # torch wraps what the file system says
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise _unwritten(step, error, kept=self.exists()) from error

    def load(self) -> int:
        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
            here = trained(self._module)
            if kept["module"].keys() != here.keys():
                raise ValueError("other parameters")
            with torch.no_grad():
                for name, parameter in here.items():
                    _copy(parameter, kept["module"][name])
            self._optimiser.load_state_dict(kept["optimiser"])
            return int(kept["step"])
        except _UNREADABLE as error:
            raise _unusable(self.path, error) from error


class SpreadCheckpoints:
    """A folder in the strategy's own format; every process takes part in writing it."""

    def __init__(
        self, folder: Path, fabric: Fabric, module: nn.Module, optimiser: torch.optim.Optimizer
    ) -> None:
        self.path, self._old = folder / SPREAD, folder / f"{SPREAD}.old"
        self._fabric, self._state = fabric, {"module": module, "optimiser": optimiser, "step": 0}

    def exists(self) -> bool:
        return self._newest.exists()

    @property
    def _newest(self) -> Path:
        """A folder cannot be replaced at once: killed in between, only the one before is there."""
        return self._old if self._old.exists() and not self.path.exists() else self.path

    def save(self, step: int) -> None:
        part = self.path.with_suffix(".part")
        self._state["step"] = step
        try:
            self._fabric.save(part, self._state)
            self._fabric.barrier()
            if self._fabric.is_global_zero:
                if self.path.exists():
                    _remove(self._old)
                    os.replace(self.path, self._old)
                os.replace(part, self.path)
                _remove(self._old)
        except (OSError, RuntimeError) as error:
            raise _unwritten(step, error, kept=self.exists()) from error

    def load(self) -> int:
        state: dict[str, Any] = dict(self._state)
        path = self._newest
        try:
            self._fabric.load(path, state)
            return int(state["step"])
        except _UNREADABLE as error:
            raise _unusable(path, error) from error


def trained(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that train, by name; one that has two names appears under both."""
    named = module.named_parameters(remove_duplicate=False)
    return {name: parameter for name, parameter in named if parameter.requires_grad}


def _copy(parameter: Tensor, kept: Tensor) -> None:
    if parameter.shape != kept.shape:  # copy_ would broadcast
        raise ValueError(f"shape {tuple(kept.shape)}")
    parameter.copy_(kept)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _unwritten(step: int, error: Exception, *, kept: bool) -> TuningFailed:
    cause = error if isinstance(error, OSError) else error.__cause__ or error.__context__
    reason = getattr(cause, "strerror", None) or " ".join(str(error).split())[:120]
    before = message("the one before it is kept") if kept else message("there is none before it")
    return TuningFailed(
        "the checkpoint of step {step} could not be written ({reason}); {before}: free some space "
        "and resume the job",
        step=step,
        reason=Message(reason),
        before=before,
    )


def _unusable(path: Path, error: Exception) -> CorruptData:
    return CorruptData(
        "{path} does not fit this training run ({name}); train in another folder, or "
        "delete the file to start anew",
        path=path,
        name=error.__class__.__name__,
    )
