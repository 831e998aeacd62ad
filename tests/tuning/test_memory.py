"""Estimates grow with what costs, and a refusal names what would fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv.checkpoint import from_tensors, load_checkpoint
from rwkv_rag.rwkv.layout import Shape
from rwkv_rag.rwkv.random_weights import random_tensors
from rwkv_rag.tuning import memory
from rwkv_rag.tuning.memory import (
    Load,
    estimate,
    needed_bytes,
    parameters,
    require,
    trainable,
    work,
)
from rwkv_rag.tuning.methods import method_named
from rwkv_rag.tuning.network import Network
from rwkv_rag.tuning.settings import BaseFiles
from rwkv_rag.types import TuneSettings

SMALL = Shape(12, 768, 12, 65536, 3072, 64, 64, 32, 128)
LARGE = Shape(32, 4096, 64, 65536, 16384, 128, 128, 96, 480)
CPU = torch.device("cpu")
Make = Callable[..., TuneSettings]


def load(shape: Shape = SMALL, matrices: torch.dtype = torch.bfloat16) -> Load:
    return Load(shape, CPU, matrices)


def test_parameters_are_those_of_the_released_models() -> None:
    assert parameters(SMALL) == pytest.approx(191_034_624, rel=0.01)
    assert parameters(LARGE) == pytest.approx(7_199_141_888, rel=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "state"},
        {"method": "full"},
        {"method": "lora"},
        {"method": "lora", "parts": ("att",), "rank": 3},
        {"method": "lora", "parts": ("att", "ffn", "low_rank")},
        {"method": "miss"},
    ],
)
def test_the_numbers_that_train_are_counted_as_they_are(
    files: BaseFiles, settings: Make, changes: dict[str, Any]
) -> None:
    checkpoint = load_checkpoint(files.model)
    network, wanted = Network.from_checkpoint(checkpoint), settings(**changes)
    method_named(wanted.method).attach(network, wanted)
    counted = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trainable(wanted, checkpoint.shape) == pytest.approx(counted, rel=0.05)


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"batch": 8}, {"batch": 2}),
        ({"context": 1024}, {"context": 256}),
        ({"checkpointing": False}, {"checkpointing": True}),
        ({"chunk": 0, "context": 1024}, {"chunk": 128, "context": 1024}),
        ({"method": "full"}, {"method": "lora"}),
        ({"devices": 2}, {"devices": 1}),
        ({"method": "lora"}, {"method": "state"}),
        ({"rank": 256, "method": "lora"}, {"rank": 8, "method": "lora"}),
    ],
)
def test_what_costs_more_is_estimated_as_more(
    settings: Make, more: dict[str, Any], less: dict[str, Any]
) -> None:
    assert needed_bytes(settings(**more), load()) > needed_bytes(settings(**less), load())


def test_bf16_holds_the_weights_in_half(settings: Make) -> None:
    difference = needed_bytes(settings(), load(matrices=torch.float32)) - needed_bytes(
        settings(), load()
    )
    assert difference > 0.9 * 2 * parameters(SMALL)


def test_what_does_not_fit_is_refused_with_what_would(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2_500_000_000)
    large = settings(method="full", batch=16, context=512)
    found = estimate(large, load())
    assert not found.fits and found.cheaper
    said = r"needs \d+\.\d GB of memory and 2\.5 GB are free; what would fit: batch 1.*method lora"
    with pytest.raises(InputError, match=said):
        require(found)
    for way in found.cheaper:  # each is true
        changed = large
        for part in str(way).split(", "):
            name, _, value = part.partition(" ")
            given: Any = int(value) if value.isdigit() else value or True
            changed = replace(changed, **{name: given})
        assert needed_bytes(changed, load()) <= 2_500_000_000


def test_a_base_that_is_too_large_in_any_way_is_refused(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 1_000_000_000)
    with pytest.raises(InputError, match="close other programs or take a smaller base"):
        require(estimate(settings(method="lora"), load(LARGE)))


def test_what_fits_is_not_refused_and_names_nothing(settings: Make) -> None:
    shape = from_tensors(random_tensors(2, 64, 50)).shape
    found = estimate(settings(), load(shape), speed=1e9)
    require(found)
    assert found.cheaper == () and found.seconds is not None and found.seconds > 0


def test_twice_the_steps_are_twice_the_work(settings: Make) -> None:
    once, twice = settings(steps=10), settings(steps=20)
    assert work(twice, load()) == 2 * work(once, load())
    assert work(settings(method="full"), load()) > work(settings(), load())


def test_a_container_has_less_than_its_machine(tmp_path: Any) -> None:
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 700\nactive_file 400\n")
    assert memory._container_bytes(tmp_path) == 3700  # 700 are pages of files that nobody uses
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._container_bytes(tmp_path) is None
