"""The loop: resuming, schedule, parameter groups, broken checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from rwkv_rag.errors import CorruptData, TuningFailed
from rwkv_rag.tuning.network import Network, NetworkShape
from rwkv_rag.tuning.optimiser import adamw, cosine, warmup_stable_decay
from rwkv_rag.tuning.trainer import StepLoss, Trainer, TrainerSettings


class Killed(Exception):
    """Stands for a process that ends between two steps."""


def make(folder: Path, *, steps: int = 12) -> Trainer:
    torch.manual_seed(1)
    module = nn.Linear(6, 3)

    def parts(module: nn.Module, step: int) -> Iterator[StepLoss]:
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        yield StepLoss((module(x) - x[:, :3]).square().mean(), "toy", 8)

    settings = TrainerSettings(folder, steps, lr=0.05, warmup=2, save_every_s=0.0)
    return Trainer(module, parts, settings)


def losses(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_killed_run_goes_on_with_the_same_loss_curve(tmp_path: Path) -> None:
    make(tmp_path / "whole").run()

    def kill(step: int) -> None:
        if step == 7:
            raise Killed

    with pytest.raises(Killed):
        make(tmp_path / "cut").run(after_step=kill)
    (tmp_path / "cut/metrics.jsonl").write_text("", encoding="utf-8")
    again = make(tmp_path / "cut")
    resumed_at = again.step
    again.run()
    assert resumed_at == 6  # the checkpoint of step 7 was not reached
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")[resumed_at:]


def parts_of(module: nn.Module, sizes: list[int]) -> Iterator[StepLoss]:
    """Twelve rows as parts of so many rows, each with its own mean loss."""
    rows = torch.randn(12, 6, generator=torch.Generator().manual_seed(3))
    for x in rows.split(sizes):
        yield StepLoss((module(x) - x[:, :3]).square().mean(), "toy", len(x), float(len(x)))


@pytest.mark.parametrize("sizes", [[12], [6, 6], [1, 4, 7], [11, 1]])
def test_parts_of_any_sizes_together_equal_the_whole(tmp_path: Path, sizes: list[int]) -> None:
    ended = []
    for number, cut in enumerate(([12], sizes)):
        torch.manual_seed(1)
        module, folder = nn.Linear(6, 3), tmp_path / str(number)
        settings = TrainerSettings(folder, 3, lr=0.05, warmup=1)
        parts = lambda module, step, cut=cut: parts_of(module, cut)  # noqa: E731
        Trainer(module, parts, settings, weigh=lambda step: 12.0).run()
        ended.append((module.weight.detach(), losses(folder)))
    torch.testing.assert_close(ended[0][0], ended[1][0])
    assert ended[0][1] == pytest.approx(ended[1][1], rel=1e-5)


def breaking(folder: Path, *, skip: bool) -> tuple[Trainer, nn.Linear]:
    """A run whose fourth step has no finite loss."""
    torch.manual_seed(1)
    module = nn.Linear(6, 3)

    def parts(module: nn.Module, step: int) -> Iterator[StepLoss]:
        x = torch.ones(2, 6) * (float("nan") if step == 3 else 1.0)
        yield StepLoss(module(x).square().mean(), "toy", 2)

    settings = TrainerSettings(folder, 6, lr=0.05, save_every_s=0.0, skip_not_finite=skip)
    return Trainer(module, parts, settings), module


def test_a_loss_that_is_no_number_ends_training_with_the_last_checkpoint_kept(
    tmp_path: Path,
) -> None:
    trainer, module = breaking(tmp_path, skip=False)
    said = r"the loss is nan at step 4; the checkpoint of step 3 is kept: .* lower lr than 0\.05"
    with pytest.raises(TuningFailed, match=said):
        trainer.run()
    again, module = breaking(tmp_path, skip=False)
    assert again.step == 3
    assert torch.isfinite(module.weight).all()


def test_a_run_of_days_leaves_out_a_step_that_is_no_number(tmp_path: Path) -> None:
    trainer, module = breaking(tmp_path, skip=True)
    assert trainer.run()
    assert torch.isfinite(module.weight).all()
    assert len(losses(tmp_path)) == 6


def test_a_stopped_run_keeps_its_step_and_goes_on_to_the_same_end(tmp_path: Path) -> None:
    make(tmp_path / "whole").run()
    first = make(tmp_path / "cut")
    assert not first.run(stop=lambda: first.step >= 5)
    again = make(tmp_path / "cut")
    assert again.step == 5
    assert again.run()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_steps_that_are_made_again_are_written_once(tmp_path: Path) -> None:
    trainer = make(tmp_path)
    trainer.run(stop=lambda: trainer.step >= 5)
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 6, "loss": 1.0}\n{"step": 7, "lo')  # then the process was killed
    make(tmp_path).run()
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 13))


def test_loss_falls(tmp_path: Path) -> None:
    make(tmp_path, steps=60).run()
    curve = losses(tmp_path)
    assert curve[-1] < curve[0] / 2


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", "cut"])
def test_damaged_checkpoint_is_named_and_kept(tmp_path: Path, damage: bytes | str) -> None:
    make(tmp_path).run()
    path = tmp_path / "checkpoint.pt"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if isinstance(damage, str) else damage)
    with pytest.raises(CorruptData, match=r"checkpoint\.pt"):
        make(tmp_path)
    assert path.exists()


def test_schedule_warms_up_stays_and_falls() -> None:
    rates = [warmup_stable_decay(s, 100, peak=1.0, warmup=10, decay=0.2) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:80] == [1.0] * 70
    assert all(a > b for a, b in pairwise(rates[80:]))
    assert rates[-1] == pytest.approx(0.05)


def test_cosine_rises_and_falls_to_the_last_rate() -> None:
    rates = [cosine(s, 100, peak=1.0, final=0.1, warmup=10) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == max(rates) == 1.0
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.1)


def test_only_large_matrices_decay_and_w0_learns_twice_as_fast() -> None:
    network = Network(NetworkShape(2, 128, 300, 8, 8, 8, 16))
    names = {id(p): n for n, p in network.named_parameters()}
    optimiser = adamw(network.named_parameters(), lr=1.0, weight_decay=0.1)
    rules = {
        names[id(p)]: (group["weight_decay"], group["scale"])
        for group in optimiser.param_groups
        for p in group["params"]
    }
    assert rules["blocks.1.att.key.weight"] == (0.1, 1.0)
    assert rules["blocks.0.att.w0"] == (0.0, 2.0)
    assert rules["blocks.0.att.w1"] == (0.0, 1.0)
    assert rules["ln_out.weight"] == (0.0, 1.0)
    assert len(rules) == len(names)
