"""Contracts name every method of their Protocol, and nothing else."""

from __future__ import annotations

import pytest

from rwkv_rag import interfaces
from rwkv_rag.services.contracts import CONTRACTS, KNOWLEDGE, Contract, methods

PROTOCOLS = [
    each
    for each in vars(interfaces).values()
    if getattr(each, "_is_protocol", False) and each.__module__ == interfaces.__name__
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.target)
def test_a_contract_names_every_method_and_nothing_else(contract: Contract) -> None:
    public = {name for name in vars(contract.protocol) if not name.startswith("_")}
    assert set(contract.policies) == set(methods(contract.protocol)) == public


def test_every_protocol_has_one_contract() -> None:
    assert sorted(each.__name__ for each in PROTOCOLS) == sorted(
        contract.protocol.__name__ for contract in CONTRACTS
    )
    assert len({(each.service, each.target) for each in CONTRACTS}) == len(CONTRACTS)


def test_what_changes_a_library_is_not_done_twice() -> None:
    """`app` also takes what is not repeatable for what changes something."""
    changes = {name for name, policy in KNOWLEDGE.policies.items() if not policy.repeatable}
    assert changes == {"create", "delete", "remove", "index", "add", "rebuild"}
