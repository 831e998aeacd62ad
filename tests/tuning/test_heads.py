"""The heads of the roles do not depend on padding or on the rows beside them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rwkv_rag.tuning.heads import Heads, reversal
from rwkv_rag.tuning.network import Network, NetworkShape

SHAPE = NetworkShape(3, 64, 50, 8, 8, 8, 16)
IDS = torch.randint(1, 50, (2, 30), generator=torch.Generator().manual_seed(4))
LENGTHS = torch.tensor([30, 17])
MATCH = torch.randint(0, 3, (2, 30), generator=torch.Generator().manual_seed(5))
FIRST = torch.tensor([9, 4])  # where passages begin


@pytest.fixture
def parts() -> tuple[Network, Heads]:
    torch.manual_seed(2)
    base, heads = Network(SHAPE, tied=True), Heads(SHAPE, 96)
    for parameter in [*base.parameters(), *heads.parameters()]:
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=0.1)
    return base, heads


@pytest.mark.parametrize("role", ["embed", "read"])
def test_padded_row_equals_the_row_alone(parts: tuple[Network, Heads], role: str) -> None:
    base, heads = parts
    head, state = getattr(heads, role), heads.states[role]
    more, cut = ((MATCH, FIRST), (MATCH[1:, :17], FIRST[1:])) if role == "read" else ((), ())
    together: Tensor = head(base, state, IDS, LENGTHS, *more)[1]
    alone: Tensor = head(base, state, IDS[1:, :17], LENGTHS[1:], *cut)[0]
    if role == "read":
        together = together[:17]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("role", ["embed", "read"])
def test_every_role_learns_its_own_initial_state(parts: tuple[Network, Heads], role: str) -> None:
    base, heads = parts
    more = (MATCH, FIRST) if role == "read" else ()
    getattr(heads, role)(base, heads.states[role], IDS, LENGTHS, *more).square().sum().backward()
    moved = {name: state.grad is not None for name, state in heads.states.items()}
    assert moved == {name: name == role for name in ("embed", "read")}


def test_reader_sees_what_stands_to_the_right(parts: tuple[Network, Heads]) -> None:
    base, heads = parts
    changed = IDS.clone()
    changed[0, 29] = (changed[0, 29] + 1) % 50
    first, second = (
        heads.read(base, heads.states["read"], x, LENGTHS, MATCH, FIRST) for x in (IDS, changed)
    )
    assert (first[0, 3] - second[0, 3]).abs().max() > 1e-6


def test_reversal_is_its_own_inverse() -> None:
    order = reversal(torch.tensor([5, 3, 0]), 6)
    assert order.tolist() == [[4, 3, 2, 1, 0, 5], [2, 1, 0, 3, 4, 5], [0, 1, 2, 3, 4, 5]]
    assert torch.equal(order.gather(1, order), torch.arange(6).expand(3, -1))
