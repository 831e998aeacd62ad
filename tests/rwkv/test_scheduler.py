"""Sequences join and leave a batch without effect on the others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.rwkv.checkpoint import from_tensors
from rwkv_rag.rwkv.random_weights import random_tensors
from rwkv_rag.rwkv.scheduler import Batch
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.x070 import X070

VOCAB = 50


@pytest.fixture(scope="module")
def model() -> X070:
    return X070(from_tensors(random_tensors(2, 64, VOCAB, seed=4)), dtype="fp32")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_sequences_come_and_go_and_each_reads_on_as_if_alone(model: X070, moves: list[int]) -> None:
    batch: Batch[int] = Batch(model)
    alone: dict[int, State] = {}
    for number, move in enumerate(moves):
        gone = [member for member in batch.members if member % 6 == move]
        batch.remove(lambda member, gone=gone: member in gone)  # type: ignore[misc]
        state = model.forward([[number + 1, move]]).state
        batch.add(number, state)
        alone = {member: alone[member] for member in alone if member not in gone}
        alone[number] = state.clone()
        assert sorted(batch.members) == sorted(alone)
        tokens = [(member + move) % VOCAB for member in batch.members]
        rows = batch.step(tokens)
        for member, token, row in zip(batch.members, tokens, rows, strict=True):
            wanted = model.step([token], alone[member])[0]
            assert torch.allclose(row, wanted, atol=2e-5)


def test_adding_copies_the_state_that_is_given(model: X070) -> None:
    state = model.forward([[1, 2]]).state
    before = state.clone()
    batch: Batch[str] = Batch(model)
    batch.add("a", state)
    batch.step([3])
    assert torch.equal(state.wkv, before.wkv)
