"""Random weights that tests and benchmarks stand on."""

from __future__ import annotations

import torch

from rwkv_rag.rwkv import layout
from rwkv_rag.rwkv.checkpoint import from_tensors
from rwkv_rag.rwkv.random_weights import random_tensors
from rwkv_rag.rwkv.x070 import X070


def test_they_have_every_tensor_of_a_model_and_no_other():
    tensors = random_tensors(3, 128, 50)
    assert tensors.keys() == layout.expected(layout.shape_of(tensors)).keys()


def test_a_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (random_tensors(1, 64, 9, seed=seed)["emb.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_model_stays_bounded_over_a_long_text():
    output = X070(from_tensors(random_tensors(2, 64, 20))).forward([[3, 7] * 600])
    assert output.state.wkv.abs().max() < 1e3
    assert 0.01 < output.logits.abs().mean() < 100
