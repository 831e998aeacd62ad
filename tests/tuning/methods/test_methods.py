"""Every method: it starts at the base, trains only what it names, and its file says what it did."""

from __future__ import annotations

import re

import pytest
import torch

from rwkv_rag.errors import CorruptData, InputError
from rwkv_rag.rwkv.adapter import Adapter, merged
from rwkv_rag.rwkv.checkpoint import Checkpoint
from rwkv_rag.rwkv.reference import LayerState, Reference
from rwkv_rag.rwkv.state import State
from rwkv_rag.tuning.methods import METHODS, method_named, rates_for
from rwkv_rag.tuning.network import Network

from .conftest import IDS, attached, logits, settings, train

ADAPTERS = ("lora", "pissa", "miss")
ALL_PARTS = ("att", "ffn", "low_rank")
NEAR = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("method", METHODS)
def test_training_begins_at_the_base(base: Checkpoint, method: str) -> None:
    network, _ = attached(base, method, parts=ALL_PARTS)
    torch.testing.assert_close(logits(network), logits(Network.from_checkpoint(base)), **NEAR)


@pytest.mark.parametrize("method", METHODS)
def test_training_lowers_the_loss_and_leaves_the_base_in_memory_alone(
    base: Checkpoint, method: str
) -> None:
    before = {name: tensor.clone() for name, tensor in base.tensors.items()}
    network, _ = attached(base, method, parts=ALL_PARTS)
    losses = train(network, steps=6)
    assert losses[-1] < losses[0]
    assert all(torch.equal(base.tensors[name], before[name]) for name in before)


@pytest.mark.parametrize("method", ADAPTERS)
def test_base_and_file_together_are_the_trained_network(base: Checkpoint, method: str) -> None:
    network, tuner = attached(base, method, parts=ALL_PARTS, alpha=9.0)
    train(network)
    whole = merged(base.tensors, Adapter.of(tuner.result(network), base.shape))
    for row, wanted in zip(IDS.tolist(), logits(network), strict=True):
        torch.testing.assert_close(Reference(whole).forward(row)[0], wanted, **NEAR)
    assert not torch.allclose(logits(network), logits(Network.from_checkpoint(base)), atol=0.01)


def test_the_states_of_a_file_start_the_reference_where_the_network_starts(
    base: Checkpoint,
) -> None:
    network, tuner = attached(base, "state")
    train(network, lr=0.1)
    start = State.from_time_state(tuner.result(network), base.shape)
    layers = zip(start.att_shift, start.ffn_shift, start.wkv, strict=True)
    state = [LayerState(att[0], ffn[0], wkv[0].clone()) for att, ffn, wkv in layers]
    got, _, _ = Reference(base.tensors).forward(IDS[0].tolist(), state)
    torch.testing.assert_close(got, logits(network)[0], **NEAR)


def test_the_result_of_full_tuning_is_a_whole_model(base: Checkpoint) -> None:
    network, tuner = attached(base, "full")
    train(network)
    whole = tuner.result(network)
    assert whole.keys() == base.tensors.keys()
    got, _, _ = Reference(whole).forward(IDS[0].tolist())
    torch.testing.assert_close(got, logits(network)[0], **NEAR)


PEFT_NAME = re.compile(r"(.+)\.(lora_A|lora_B|miss)(?:_block)?\.default(?:\.weight)?")


def checkpoint_name(parameter: str) -> str:
    """What peft's parameter is called in our files."""
    return PEFT_NAME.sub(r"\1.weight.\2", parameter)


@pytest.mark.parametrize(
    ("parts", "trained"),
    [
        (("att",), {"receptance.weight", "key.weight", "value.weight", "output.weight"}),
        (("ffn",), {"key.weight", "value.weight"}),
        (("low_rank",), {f"{name}{i}" for name in "wavg" for i in "12"}),
    ],
)
@pytest.mark.parametrize("method", ADAPTERS)
def test_only_the_parts_asked_for_train(base: Checkpoint, method: str, parts, trained) -> None:
    network, tuner = attached(base, method, parts=parts)
    names = [name for name, p in network.named_parameters() if p.requires_grad]
    targets = {checkpoint_name(name) for name in names}
    if parts != ("low_rank",):
        assert targets == tuner.result(network).keys()
        targets = {target.rsplit(".", 1)[0] for target in targets}
        assert {target.split(".")[2] for target in targets} == set(parts)
    assert {target.split(".", 3)[3] for target in targets} == trained


@pytest.mark.parametrize("method", ADAPTERS)
def test_what_trains_is_fp32_on_a_base_of_half_precision(base: Checkpoint, method: str) -> None:
    network, tuner = Network.from_checkpoint(base, matrices=torch.bfloat16), method_named(method)
    tuner.attach(network, settings(method=method, parts=ALL_PARTS))
    trained = {p.dtype for p in network.parameters() if p.requires_grad}
    assert trained == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in tuner.result(network).values())
    logits(network)


def test_pissa_begins_with_the_strongest_directions(base: Checkpoint) -> None:
    network, _ = attached(base, "pissa", parts=("att",))
    whole = base.tensors["blocks.0.att.key.weight"]
    left = network.blocks[0].att.key.base_layer.weight
    ours = torch.linalg.matrix_norm(left).item()
    best = torch.linalg.svdvals(whole)[6:].square().sum().sqrt().item()  # Eckart and Young
    assert best <= ours * 1.0001 and ours < best * 1.02


def test_pissa_is_stored_as_a_difference_that_is_nothing_at_the_start(base: Checkpoint) -> None:
    network, tuner = attached(base, "pissa")
    adapter = Adapter.of(tuner.result(network), base.shape)
    assert {pair.rank for pair in adapter.pairs.values()} == {12}
    for pair in adapter.pairs.values():
        torch.testing.assert_close(pair.delta, torch.zeros_like(pair.delta), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_job_starts_from_the_very_same_network(base: Checkpoint, method: str) -> None:
    first, tuner = attached(base, method, parts=ALL_PARTS)
    train(first)
    kept = {name: tensor.clone() for name, tensor in tuner.fixed(first).items()}
    again, other = attached(base, method, kept, parts=ALL_PARTS, seed=0)
    trained = {n: p.detach().clone() for n, p in first.named_parameters() if p.requires_grad}
    assert again.load_state_dict(trained, strict=False).unexpected_keys == []
    assert torch.equal(logits(again), logits(first))
    for name, tensor in other.result(again).items():
        assert torch.equal(tensor, tuner.result(first)[name])


def test_the_start_of_pissa_does_not_hang_on_a_new_decomposition(base: Checkpoint) -> None:
    first, tuner = attached(base, "pissa", seed=1)
    again, _ = attached(base, "pissa", tuner.fixed(first), seed=2)
    for (name, one), other in zip(first.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_start_with_a_pair_missing_is_refused(base: Checkpoint) -> None:
    network, tuner = attached(base, "pissa")
    kept = tuner.fixed(network)
    del kept["blocks.1.ffn.key.weight.lora_A"]
    with pytest.raises(CorruptData, match=r"blocks\.1\.ffn\.key"):
        attached(base, "pissa", kept)


@pytest.mark.parametrize("method", ADAPTERS)
def test_the_same_seed_draws_the_same_start_whatever_was_drawn_before(
    base: Checkpoint, method: str
) -> None:
    first, tuner = attached(base, method)
    torch.rand(3)
    state = torch.random.get_rng_state()
    again, other = attached(base, method)
    assert torch.equal(torch.random.get_rng_state(), state)
    results = tuner.result(first), other.result(again)
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


@pytest.mark.parametrize("method", ADAPTERS)
def test_a_rank_above_the_smallest_side_is_refused(base: Checkpoint, method: str) -> None:
    with pytest.raises(InputError, match=r"rank is 65.*at most 64"):
        attached(base, method, rank=65)


@pytest.mark.parametrize("method", ["full", "pissa"])
def test_methods_that_need_whole_weights_refuse_packed_ones(base: Checkpoint, method: str) -> None:
    with pytest.raises(InputError, match="quantization is 'nf4'"):
        attached(base, method, quantization="nf4")


def test_full_tuning_takes_weights_of_any_type_to_full_precision(base: Checkpoint) -> None:
    network = Network.from_checkpoint(base, matrices=torch.bfloat16)
    method_named("full").attach(network, settings(method="full"))
    assert network.blocks[0].att.key.weight.dtype == torch.float32
    assert torch.isfinite(logits(network)).all()


def test_an_unknown_method_is_named_beside_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"'dora'.*lora"):
        method_named("dora")


@pytest.mark.parametrize("method", METHODS)
def test_wider_models_are_taught_in_smaller_steps(method: str) -> None:
    rates = [rates_for(method_named(method), width) for width in (256, 1024, 4096)]
    assert rates[1] == method_named(method).default_rates
    assert [first / rates[1][0] for first, _ in rates] == pytest.approx([16, 1, 1 / 16])
    assert all(last < first for first, last in rates)
    if method != "state":  # RWKV-PEFT's advice for the released models
        assert rates[2][0] <= 1e-4
