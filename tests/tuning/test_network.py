"""The trainable network is the same function as the runtime's specification."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import rwkv_rag
from rwkv_rag.rwkv.checkpoint import from_tensors, load_checkpoint, save_checkpoint
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.rwkv.reference import Reference
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.x070 import X070
from rwkv_rag.tuning.network import Network, NetworkShape

SHAPE = NetworkShape(3, 128, 97, 16, 16, 8, 32)
BUILTIN = Path(rwkv_rag.__file__).parent / "builtin" / "model.safetensors"
IDS = torch.randint(1, 97, (2, 37), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network() -> Network:
    network = Network(SHAPE)
    tensors = random_tensors(3, 128, 97, ranks=Ranks(16, 16, 8, 32), seed=3)
    network.load_state_dict(tensors)
    return network


def test_state_dict_has_the_official_names_and_shapes(network: Network) -> None:
    wanted = random_tensors(3, 128, 97, ranks=Ranks(16, 16, 8, 32))
    assert {n: p.shape for n, p in network.state_dict().items()} == {
        n: t.shape for n, t in wanted.items()
    }


def test_logits_and_states_equal_the_reference(network: Network) -> None:
    ids = torch.randint(0, 97, (2, 37), generator=torch.Generator().manual_seed(1))
    reference = Reference(network.state_dict())
    with torch.no_grad():
        logits = network(ids)
        _, states = network.hidden(ids)
    for row in range(2):
        wanted, _, memory = reference.forward(ids[row].tolist())
        torch.testing.assert_close(logits[row], wanted, rtol=1e-3, atol=1e-4)
        for layer in range(3):
            torch.testing.assert_close(states[layer][row], memory[layer].wkv, rtol=1e-3, atol=1e-4)


def test_padding_reaches_neither_hidden_states_nor_final_states(network: Network) -> None:
    ids = torch.randint(1, 97, (1, 21))
    padded = torch.cat([ids, torch.full((1, 12), 5)], 1)
    with torch.no_grad():
        hidden, states = network.hidden(ids)
        more, more_states = network.hidden(padded, lengths=torch.tensor([21]))
    torch.testing.assert_close(more[:, :21], hidden, rtol=1e-4, atol=1e-5)
    for got, wanted in zip(more_states, states, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_fresh_network_learns_to_copy_a_pattern() -> None:
    """Initialisation and gradients work together: a repeating sequence is learnt in 30 steps."""
    torch.manual_seed(0)
    network = Network(NetworkShape(2, 64, 16, 8, 8, 8, 16), tied=True)
    ids = torch.arange(32).remainder(5)[None]
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(network(ids)[0, :-1], ids[0, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 < losses[0]


def weights(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return random_tensors(3, 128, 97, ranks=Ranks(16, 16, 8, 32), seed=3, dtype=dtype)


def test_network_of_a_checkpoint_equals_the_reference_and_trains_nothing() -> None:
    network = Network.from_checkpoint(from_tensors(weights()))
    wanted, _, _ = Reference(weights()).forward(IDS[0].tolist())
    torch.testing.assert_close(network(IDS)[0], wanted, rtol=1e-3, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_network_of_the_builtin_model_equals_the_runtime() -> None:
    checkpoint = load_checkpoint(BUILTIN)
    ids = torch.randint(1, 16384, (1, 40), generator=torch.Generator().manual_seed(2))
    wanted = X070(checkpoint, dtype="fp32").forward([ids[0].tolist()], hidden=True).hidden[0]
    network = Network.from_checkpoint(checkpoint)
    logits = wanted @ checkpoint.tensors["head.weight"].T
    torch.testing.assert_close(network(ids)[0], logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_that_is_the_embedding_table_is_one_parameter(tied: bool) -> None:
    tensors = weights()
    if tied:
        del tensors["head.weight"]
    checkpoint = from_tensors(tensors, {"tied_head": "true"} if tied else {})
    network = Network.from_checkpoint(checkpoint)
    assert (network.head.weight is network.emb.weight) == tied


def test_frozen_matrices_share_the_memory_of_the_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "m.safetensors", weights(torch.bfloat16))
    checkpoint = load_checkpoint(tmp_path / "m.safetensors")
    network = Network.from_checkpoint(checkpoint, matrices=torch.bfloat16)
    for name, tensor in network.state_dict().items():
        wide = tensor.ndim == 2 and not name.endswith("r_k")
        shared = tensor.data_ptr() == checkpoint.tensors[name].data_ptr()
        assert (tensor.dtype == torch.bfloat16, shared) == (wide, wide), name


def test_bf16_matrices_stay_near_fp32() -> None:
    checkpoint = from_tensors(weights())
    exact, rough = (
        Network.from_checkpoint(checkpoint, matrices=dtype)(IDS).float()
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert (exact - rough).abs().mean() < 0.02 * exact.abs().mean()


def test_time_states_start_every_row_and_get_gradients() -> None:
    tensors = weights()
    tuned = {f"blocks.{i}.att.time_state": torch.randn(2, 64, 64) for i in range(3)}
    network = Network.from_checkpoint(from_tensors(tensors | tuned))
    plain, frozen = Network.from_checkpoint(from_tensors(tensors))(IDS), network(IDS)
    assert not any(p.requires_grad for p in network.parameters())
    added = network.add_time_states()
    assert {n for n, p in network.named_parameters() if p.requires_grad} == set(tuned)
    assert (network(IDS) - plain).abs().max() > 1e-2
    torch.testing.assert_close(network(IDS), frozen)
    given = torch.stack(list(tuned.values()))
    torch.testing.assert_close(network.hidden(IDS)[0], network.hidden(IDS, given)[0])
    each = given[:, None].expand(-1, 2, -1, -1, -1)
    torch.testing.assert_close(network.hidden(IDS)[0], network.hidden(IDS, each)[0])
    network(IDS).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in added)


def test_time_states_of_zeros_change_nothing() -> None:
    network = Network.from_checkpoint(from_tensors(weights()))
    before = network(IDS)
    network.add_time_states()
    torch.testing.assert_close(network(IDS), before, rtol=0, atol=0)


@pytest.mark.parametrize("cuts", [[37], [1, 36], [16, 16, 5], [10, 1, 1, 25]])
def test_reading_in_segments_equals_reading_at_once(network: Network, cuts: list[int]) -> None:
    with torch.no_grad():
        whole, end = network.read(IDS)
        carry: State | None = None
        parts = []
        for piece in IDS.split(cuts, 1):
            hidden, carry = network.read(piece, carry)
            parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)
    assert carry is not None
    torch.testing.assert_close(carry.wkv, end.wkv, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(carry.ffn_shift, end.ffn_shift, rtol=1e-4, atol=1e-5)


def test_rows_that_ended_keep_their_state(network: Network) -> None:
    with torch.no_grad():
        _, carry = network.read(IDS[:, :20], lengths=torch.tensor([20, 7]))
        _, alone = network.read(IDS[1:, :7])
        _, later = network.read(IDS[:, 20:], carry, lengths=torch.tensor([17, 0]))
    for name in ("wkv", "att_shift", "ffn_shift"):
        ended, wanted = getattr(later, name)[:, 1], getattr(alone, name)[:, 0]
        torch.testing.assert_close(ended, wanted, rtol=1e-4, atol=1e-5)


def test_gradient_passes_between_segments_until_it_is_cut() -> None:
    network = Network.from_checkpoint(from_tensors(weights()))
    states = network.add_time_states()

    def gradient(cut: bool) -> list[Tensor]:
        _, carry = network.read(IDS[:, :20])
        if cut:
            carry = State(carry.wkv.detach(), carry.att_shift.detach(), carry.ffn_shift.detach())
        hidden, _ = network.read(IDS[:, 20:], carry)
        loss = hidden.square().sum() + sum(p.sum() * 0 for p in states)
        return list(torch.autograd.grad(loss, states))

    whole = torch.autograd.grad(network.read(IDS)[0][:, 20:].square().sum(), states)
    for got, wanted in zip(gradient(cut=False), whole, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)
    assert all(not g.any() for g in gradient(cut=True))


def test_checkpointing_changes_no_gradient(network: Network) -> None:
    gradients = []
    for network.checkpointing in (False, True):
        network.zero_grad()
        network(IDS).square().mean().backward()
        gradients.append({n: p.grad for n, p in network.named_parameters()})
    for name, wanted in gradients[0].items():
        assert wanted is not None
        torch.testing.assert_close(gradients[1][name], wanted, rtol=1e-4, atol=1e-6, msg=name)
