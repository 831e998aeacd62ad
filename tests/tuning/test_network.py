"""The trainable network is the same function as the runtime's specification."""

from __future__ import annotations

import pytest
import torch

from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.rwkv.reference import Reference
from rwkv_rag.tuning.network import Network, NetworkShape

SHAPE = NetworkShape(3, 128, 97, 16, 16, 8, 32)


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
