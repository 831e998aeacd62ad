"""A tiny base, networks of it with a method attached, and a few steps of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rwkv_rag.rwkv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.tuning.methods import Method, method_named
from rwkv_rag.tuning.network import Network
from rwkv_rag.types import TuneSettings

IDS = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path = tmp_path_factory.mktemp("base") / "model.safetensors"
    save_checkpoint(path, random_tensors(2, 64, 50, ranks=Ranks(8, 12, 4, 16), seed=7))
    return load_checkpoint(path)


def settings(**changes: Any) -> TuneSettings:
    return TuneSettings(**{"name": "x", "data": Path("rows.jsonl"), "rank": 6, **changes})


def attached(
    base: Checkpoint, method: str, kept: dict[str, Tensor] | None = None, **changes: Any
) -> tuple[Network, Method]:
    network, tuner = Network.from_checkpoint(base), method_named(method)
    tuner.attach(network, settings(method=method, **changes), kept)
    return network, tuner


def train(network: Network, steps: int = 3, lr: float = 1e-2) -> list[float]:
    """A few steps towards predicting IDS; the losses."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=lr)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        logits = network(IDS[:, :-1]).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, IDS[:, 1:].flatten())
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def logits(network: Network) -> Tensor:
    with torch.no_grad():
        return network(IDS)
