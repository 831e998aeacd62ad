"""A checkpoint is whole or not there, and fits only the run it was written by."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from rwkv_rag.errors import CorruptData, TuningFailed
from rwkv_rag.tuning.checkpoints import PlainCheckpoints, SpreadCheckpoints, trained
from rwkv_rag.tuning.devices import one_device


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process can grow beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def make(folder: Path, width: int = 5) -> tuple[nn.Module, torch.optim.Optimizer, PlainCheckpoints]:
    module = nn.Sequential(nn.Linear(4, width), nn.Linear(width, 2).requires_grad_(False))
    optimiser = torch.optim.AdamW(trained(module).values(), lr=0.1)
    return module, optimiser, PlainCheckpoints(folder, module, optimiser)


def stepped(module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    module(torch.ones(1, 4)).sum().backward()
    optimiser.step()


def test_only_what_trains_is_kept_and_comes_back_with_its_moments(tmp_path: Path) -> None:
    module, optimiser, kept = make(tmp_path)
    stepped(module, optimiser)
    kept.save(9)
    content = torch.load(kept.path, weights_only=True)
    assert set(content["module"]) == {"0.weight", "0.bias"}
    other, its_optimiser, its = make(tmp_path)
    other[1].load_state_dict(module[1].state_dict())  # type: ignore[index]
    assert its.load() == 9
    stepped(module, optimiser)
    stepped(other, its_optimiser)
    for name, parameter in trained(module).items():
        assert torch.equal(parameter, trained(other)[name])


def test_a_checkpoint_of_another_shape_or_other_names_is_refused(tmp_path: Path) -> None:
    make(tmp_path)[2].save(1)
    for module in (make(tmp_path, 1)[0], nn.Linear(4, 5)):
        kept = PlainCheckpoints(tmp_path, module, torch.optim.AdamW(module.parameters()))
        with pytest.raises(CorruptData, match="does not fit this training run"):
            kept.load()


def test_a_full_disk_leaves_the_previous_checkpoint_valid(tmp_path: Path) -> None:
    module = nn.Linear(300, 300)
    kept = PlainCheckpoints(tmp_path, module, torch.optim.AdamW(module.parameters()))
    kept.save(3)
    said = r"of step 4 could not be written \(File too large\); the one before it is kept"
    with full_disk(100_000), pytest.raises(TuningFailed, match=said):
        kept.save(4)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert kept.load() == 3


def test_a_first_checkpoint_that_fails_says_that_there_is_none(tmp_path: Path) -> None:
    module, optimiser, _ = make(tmp_path)
    kept = PlainCheckpoints(tmp_path / "missing", module, optimiser)
    with pytest.raises(TuningFailed, match=r"\(No such file or directory\); there is none before"):
        kept.save(1)


def test_a_spread_run_killed_between_two_checkpoints_goes_on_from_the_older(tmp_path: Path) -> None:
    fabric = one_device()
    module, optimiser = fabric.setup(*make(tmp_path)[:2])
    kept = SpreadCheckpoints(tmp_path, fabric, module, optimiser)
    kept.save(3)
    kept.path.rename(tmp_path / "checkpoint.old")  # as `save` does first, and no further
    again = SpreadCheckpoints(tmp_path, fabric, module, optimiser)
    assert again.exists() and again.load() == 3
    again.save(4)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"] and again.load() == 4


def test_a_process_that_does_not_write_writes_nothing(tmp_path: Path) -> None:
    module, optimiser, _ = make(tmp_path)
    PlainCheckpoints(tmp_path, module, optimiser, writes=False).save(1)
    assert not list(tmp_path.iterdir())
