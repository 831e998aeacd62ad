"""The specification against other people's implementations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rwkv_rag.rwkv.checkpoint import load_checkpoint
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.rwkv.reference import Reference

# Runs in its own process: the package is configured by its environment and prints as it loads.
PEER = """
import sys
import numpy as np
from rwkv.model import RWKV

model = RWKV(sys.argv[1], "cpu fp32")
tokens = [int(token) for token in sys.argv[3].split()]
half = len(tokens) // 2
logits, state = model.forward(tokens[:half], None, full_output=True)
rest = []
for token in tokens[half:]:
    one, state = model.forward([token], state)
    rest.append(one)
np.savez(sys.argv[2], sequence=logits.numpy(), steps=np.stack(rest), wkv=state[4].numpy())
"""


def peer_outputs(tensors: dict[str, torch.Tensor], tokens: list[int], path: Path) -> dict:
    pytest.importorskip("rwkv", reason="the `rwkv` package is not installed (extra: dev)")
    torch.save(tensors, path / "model.pth")
    environment = os.environ | {"RWKV_V7_ON": "1", "RWKV_JIT_ON": "1", "RWKV_CUDA_ON": "0"}
    command = [sys.executable, "-c", PEER, str(path / "model"), str(path / "out.npz")]
    command.append(" ".join(map(str, tokens)))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(np.load(path / "out.npz"))


@pytest.mark.slow
def test_it_agrees_with_the_rwkv_package_on_random_weights(tmp_path):
    tensors = random_tensors(3, 192, 100, ranks=Ranks(16, 24, 8, 32), seed=7)
    tokens = np.random.default_rng(3).integers(0, 100, 48).tolist()
    theirs = peer_outputs(tensors, tokens, tmp_path)
    logits, _, state = Reference(tensors).forward(tokens)
    expected = np.concatenate([theirs["sequence"], theirs["steps"]])
    deviation = np.abs(logits.numpy() - expected)
    assert deviation.max() < 1e-4, f"max {deviation.max():.2e}, mean {deviation.mean():.2e}"
    assert np.abs(expected).mean() > 0.1  # else agreement would mean nothing
    assert np.abs(state[1].wkv.numpy() - theirs["wkv"]).max() < 1e-4


def test_it_agrees_with_the_oracle():
    """A real tiny model and the logits rwkv.cpp gives after three bytes."""
    folder = os.environ.get("RWKV_RAG_ORACLE")
    if not folder:
        pytest.skip("set RWKV_RAG_ORACLE to the folder that holds the oracle's model and logits")
    (model,) = Path(folder).glob("*x070*.safetensors")
    (logits,) = Path(folder).glob("expected-logits-x070*.f32")
    ours, _, _ = Reference(load_checkpoint(model).tensors).forward(list(b'"in'))
    deviation = np.abs(ours[-1].numpy() - np.fromfile(logits, "<f4"))
    assert deviation.max() < 1e-5, f"max {deviation.max():.2e}, mean {deviation.mean():.2e}"


def test_a_sequence_in_two_parts_is_the_sequence():
    reference = Reference(random_tensors(2, 64, 30))
    whole, _, _ = reference.forward([3, 1, 4, 1, 5])
    _, _, state = reference.forward([3, 1, 4])
    parts, _, _ = reference.forward([1, 5], state)
    assert torch.allclose(parts, whole[3:], atol=1e-6)
