"""Packed bases: refused where they cannot work, and close to the base where they can."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from rwkv_rag.errors import InputError, MissingExtra
from rwkv_rag.rwkv.checkpoint import from_tensors
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.tuning.methods import method_named
from rwkv_rag.tuning.network import Network
from rwkv_rag.tuning.quantized import pack, quantize

from .methods.conftest import logits, settings, train

BASE = from_tensors(random_tensors(2, 128, 50, ranks=Ranks(8, 12, 4, 16)))
CPU = torch.device("cpu")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
# Advice of bitsandbytes about itself: a missing kernel package, old torch.jit, casting to fp16.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_a_machine_without_a_gpu_is_told_what_to_do_instead(kind: str) -> None:
    with pytest.raises(InputError, match=rf"'{kind}'.*GPU.*precision bf16") as caught:
        quantize(Network.from_checkpoint(BASE), kind)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtra, match=r"pip install 'rwkv-rag\[gpu\]'"):
        pack(Network.from_checkpoint(BASE), "nf4", CPU)


@needs_bitsandbytes
@quiet
@pytest.mark.parametrize(("kind", "near"), [("int8", 0.05), ("nf4", 0.5)])
def test_a_packed_network_says_nearly_what_the_base_says(kind: str, near: float) -> None:
    plain = Network.from_checkpoint(BASE, matrices=torch.bfloat16)
    packed = Network.from_checkpoint(BASE, matrices=torch.bfloat16)
    pack(packed, kind, CPU)
    assert packed.blocks[0].att.key.weight.dtype in (torch.int8, torch.uint8)
    difference = (logits(packed) - logits(plain)).abs().max().item()
    assert 0 < difference < near, difference


@needs_bitsandbytes
@quiet
@pytest.mark.parametrize("kind", ["int8", "nf4"])
@pytest.mark.parametrize("method", ["lora", "miss", "state"])
def test_a_method_trains_on_a_packed_base_and_leaves_it_alone(kind: str, method: str) -> None:
    network = Network.from_checkpoint(BASE, matrices=torch.bfloat16)
    pack(network, kind, CPU)
    start = logits(network)
    tuner = method_named(method)
    tuner.attach(network, settings(method=method, quantization=kind))
    torch.testing.assert_close(logits(network), start)
    frozen = {n: p.clone() for n, p in network.named_parameters() if not p.requires_grad}
    losses = train(network, steps=6)
    assert losses[-1] < losses[0]
    now = dict(network.named_parameters())
    assert all(torch.equal(now[name], frozen[name]) for name in frozen)
    assert all(name.startswith("blocks.") for name in tuner.result(network))
