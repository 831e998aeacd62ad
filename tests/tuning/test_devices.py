"""Devices and strategies: refused where they are not there, and two do what one does."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rwkv_rag.errors import InputError, MissingExtra
from rwkv_rag.tuning import devices
from rwkv_rag.tuning.devices import check_devices, device_of, is_first, open_fabric
from rwkv_rag.types import TuneSettings

Make = Callable[..., TuneSettings]

TWO = """
import json, sys
from pathlib import Path
import torch
from torch import nn
from rwkv_rag.tuning.devices import open_fabric
from rwkv_rag.tuning.task import agreement
from rwkv_rag.tuning.trainer import StepLoss, Trainer, TrainerSettings
from rwkv_rag.types import TuneSettings

folder, count = Path(sys.argv[1]), int(sys.argv[2])
fabric = open_fabric(TuneSettings("x", Path(), device="cpu", devices=count))
fabric.launch()
assert agreement(fabric)(10 + fabric.global_rank) == 9 + count
torch.manual_seed(1)
module = nn.Linear(6, 3)
rows = torch.randn(4, 8, 6, generator=torch.Generator().manual_seed(3))
cut = {1: [slice(0, 8)], 2: [slice(0, 3), slice(3, 8)]}[count][fabric.global_rank]

def parts(module, step):
    # Every device has another number of rows, and gives them in two parts.
    for x in rows[step, cut].tensor_split(2):
        yield StepLoss((module(x) - x[:, :3]).square().mean(), "toy", len(x), float(len(x)))

settings = TrainerSettings(folder, 4, lr=0.05, warmup=1)
weigh = lambda step: float(len(rows[step, cut]))
Trainer(module, parts, settings, fabric=fabric, weigh=weigh).run()
"""


def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    no_gpu(monkeypatch)
    assert device_of("auto").type == device_of("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("auto").type == "cuda"
    assert device_of("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="device is 'cuda:2', but 2 GPUs are here"):
        device_of("cuda:2")
    with pytest.raises(InputError, match="device is 'cuda:x'; choose"):
        device_of("cuda:x")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "cuda"}, "device is 'cuda', but torch finds no GPU here"),
        ({"devices": 1024}, r"devices is 1024, but \d+ processor cores are here; lower it"),
        ({"strategy": "fsdp", "devices": 2}, "strategy is 'fsdp', which needs GPUs"),
        ({"strategy": "deepspeed_stage_2", "devices": 2}, "which needs GPUs; choose ddp"),
    ],
)
def test_what_is_not_there_is_refused(
    settings: Make, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    no_gpu(monkeypatch)
    with pytest.raises(InputError, match=said):
        check_devices(settings(**changes))


@pytest.mark.parametrize("missing", ["lightning_fabric", "psutil", "deepspeed"])
def test_a_missing_package_is_named_with_its_cure(
    settings: Make, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def found(name: str) -> object | None:
        return None if name == missing else object()

    monkeypatch.setattr(devices.importlib.util, "find_spec", found)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    wanted = settings(device="cuda", devices=2, strategy="deepspeed_stage_2")
    with pytest.raises(MissingExtra, match=rf"{missing}.*pip install|pip install {missing}"):
        check_devices(wanted)


def test_one_device_is_the_first_and_needs_no_launch(settings: Make) -> None:
    fabric = open_fabric(settings())
    assert is_first(fabric) and fabric.world_size == 1 and fabric.device.type == "cpu"


def result(folder: Path) -> tuple[list[tuple[float, float]], torch.Tensor]:
    """Loss and gradient norm of each step, and what was trained."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    kept = torch.load(folder / "checkpoint.pt", weights_only=True)
    return [(line["loss"], line["norm"]) for line in lines], kept["module"]["weight"]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without processes")
def test_two_processes_train_as_one_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.py"
    script.write_text(TWO, encoding="utf-8")
    run = [sys.executable, str(script), str(tmp_path / "two"), "2"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "one"), "1"])
    runpy.run_path(str(script))
    (alone, weight), (together, same) = result(tmp_path / "one"), result(tmp_path / "two")
    assert len(alone) == len(together) == 4
    for one, two in zip(alone, together, strict=True):
        assert two == pytest.approx(one, rel=1e-5)
    torch.testing.assert_close(same, weight)
