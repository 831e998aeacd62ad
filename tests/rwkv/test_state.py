"""States as values: copies, batches, files and the community's tuned states."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import InputError, ModelMismatch
from rwkv_rag.rwkv.layout import Shape
from rwkv_rag.rwkv.state import State

SHAPE = Shape(2, 128, 2, 50, 512, 16, 16, 8, 32)
FIELDS = ("wkv", "att_shift", "ffn_shift")


def random_state(batch: int, seed: int = 0) -> State:
    generator = torch.Generator().manual_seed(seed)
    zeros = State.zeros(SHAPE, batch)
    return State(*(torch.randn(getattr(zeros, n).shape, generator=generator) for n in FIELDS))


def equal(one: State, other: State) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_a_clone_shares_no_memory():
    state = random_state(2)
    clone = state.clone()
    clone.wkv.zero_()
    clone.att_shift.zero_()
    clone.ffn_shift.zero_()
    assert equal(state, random_state(2))


@settings(deadline=None)  # a loaded machine is no fault
@given(st.lists(st.integers(1, 3), min_size=1, max_size=4))
def test_selecting_takes_out_what_was_stacked(batches):
    states = [random_state(batch, seed) for seed, batch in enumerate(batches)]
    stacked = State.stack(states)
    assert stacked.batch == sum(batches)
    begin = 0
    for state in states:
        assert equal(stacked.select(range(begin, begin + state.batch)), state)
        begin += state.batch


def test_selecting_copies_reorders_and_repeats():
    state = random_state(3)
    chosen = state.select([2, 0, 2])
    assert torch.equal(chosen.wkv[:, 0], state.wkv[:, 2])
    assert torch.equal(chosen.att_shift[:, 1], state.att_shift[:, 0])
    chosen.wkv.zero_()
    assert equal(state, random_state(3))


@pytest.mark.parametrize("index", [-1, 3])
def test_selecting_outside_the_batch_is_refused(index):
    with pytest.raises(InputError):
        random_state(3).select([index])


def test_states_of_different_models_do_not_stack():
    other = State.zeros(Shape(3, 128, 2, 50, 512, 16, 16, 8, 32))
    with pytest.raises(ModelMismatch):
        State.stack([random_state(1), other])
    with pytest.raises(InputError):
        State.stack([])


def test_a_tuned_state_keeps_its_orientation_both_ways():
    tuned = {f"blocks.{i}.att.time_state": torch.randn(2, 64, 64) for i in range(2)}
    state = State.from_time_state(tuned, SHAPE)
    assert torch.equal(state.wkv[1, 0], tuned["blocks.1.att.time_state"])
    assert not state.att_shift.any()
    back = state.to_time_state()
    assert back.keys() == tuned.keys()
    assert all(torch.equal(back[name], tuned[name]) for name in tuned)


@pytest.mark.parametrize(
    "tuned",
    [
        {},
        {"blocks.0.att.time_state": torch.zeros(2, 64, 64)},
        {f"blocks.{i}.att.time_state": torch.zeros(2, 64, 64) for i in range(3)},
        {f"blocks.{i}.att.time_state": torch.zeros(4, 64, 64) for i in range(2)},
        {f"blocks.{i}.att.time_state": torch.zeros(2, 64, 64) for i in (0, 2)},
    ],
)
def test_a_tuned_state_of_another_model_is_refused(tuned):
    with pytest.raises(ModelMismatch):
        State.from_time_state(tuned, SHAPE)


def test_only_one_sequence_makes_a_tuned_state():
    with pytest.raises(InputError):
        random_state(2).to_time_state()
