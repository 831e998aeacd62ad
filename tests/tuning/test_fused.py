"""The compiled loops against the readable chains of the network: values and every gradient.

Both round to bf16, at other places; so each is measured by how far it is from fp32.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rwkv_rag.rwkv.checkpoint import from_tensors
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.tuning import fused
from rwkv_rag.tuning.network import Network

LENGTHS = torch.tensor([37, 20])
IDS = torch.randint(1, 97, (2, 37), generator=torch.Generator().manual_seed(1))


def network(dtype: torch.dtype) -> Network:
    tensors = random_tensors(3, 128, 97, ranks=Ranks(16, 16, 8, 32), seed=3)
    states = {f"blocks.{i}.att.time_state": noise((2, 64, 64), i) * 0.3 for i in range(3)}
    network = Network.from_checkpoint(from_tensors(tensors | states), matrices=dtype)
    network.add_time_states()
    return network


def noise(size: tuple[int, ...] | torch.Size, seed: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def run(network: Network) -> dict[str, Tensor]:
    """Values and all gradients of a loss over hidden states, carried states and two segments."""
    _, carry = network.read(IDS[:, :9])
    hidden, after = network.read(IDS, carry, LENGTHS)
    inside = (torch.arange(37) < LENGTHS[:, None])[..., None]
    hidden = torch.where(inside, hidden, torch.zeros(()))
    loss = (hidden * noise(hidden.shape, 9)).sum()
    for seed, part in enumerate((after.wkv, after.att_shift, after.ffn_shift)):
        loss = loss + 0.1 * (part * noise(part.shape, seed)).sum()
    loss.backward()
    named = network.named_parameters()
    values = {"hidden": hidden.detach(), "wkv": after.wkv.detach()}
    return values | {name: p.grad.float() for name, p in named if p.grad is not None}


def distances(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    assert got.keys() == wanted.keys()
    return {n: float((got[n] - wanted[n]).norm() / (wanted[n].norm() + 1e-3)) for n in wanted}


def test_loops_are_as_near_to_fp32_as_the_readable_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything trains here: each gradient of each tensor is compared."""
    exact, fast, slow = (network(dtype) for dtype in (torch.float32, *[torch.bfloat16] * 2))
    for each in (exact, fast, slow):
        each.requires_grad_(True)
    wanted = run(exact)
    near = distances(run(fast), wanted)
    monkeypatch.setattr(fused, "fits", lambda *_: False)
    usual = distances(run(slow), wanted)
    worse = {n: (near[n], usual[n]) for n in near if near[n] > 1.5 * usual[n] + 2e-3}
    assert not worse and max(near.values()) < 0.03
    assert len(near) > 80


def test_loops_are_taken_for_bf16_on_a_cpu_only() -> None:
    x = torch.zeros(1)
    assert fused.fits(x, torch.bfloat16) and not fused.fits(x, torch.float32)
    assert not fused.fits(torch.zeros(1, device="meta"), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert fused.fits(x, torch.float32)


def test_autocast_gives_the_gradients_of_fp32_masters() -> None:
    exact, rough = network(torch.float32), network(torch.float32)
    for each in (exact, rough):
        each.requires_grad_(True)
    wanted = run(exact)
    with torch.autocast("cpu", torch.bfloat16):
        got = run(rough)
    assert max(distances(got, wanted).values()) < 0.03


def test_checkpointing_changes_no_gradient_of_the_loops() -> None:
    plain, sparing = network(torch.bfloat16), network(torch.bfloat16)
    sparing.checkpointing = True
    assert max(distances(run(sparing), run(plain)).values()) == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads: int, limited: Callable[[int], None]) -> None:
    limited(1)
    wanted = run(network(torch.bfloat16))
    limited(threads)
    assert max(distances(run(network(torch.bfloat16)), wanted).values()) < 1e-3


@pytest.fixture
def limited(request: pytest.FixtureRequest) -> Callable[[int], None]:
    before = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(before))
    return torch.set_num_threads


def test_square_relu_keeps_nan_and_its_gradient_is_that_of_torch() -> None:
    x = (torch.randn(7, 5, 16) * 3).bfloat16().requires_grad_()
    given = torch.randn(7, 5, 16).bfloat16()
    (got,) = torch.autograd.grad(fused.square_relu(x), x, given)
    (wanted,) = torch.autograd.grad(torch.relu(x.float()) ** 2, x, given.float())
    torch.testing.assert_close(got, wanted)
    with torch.no_grad():
        x[0, 0, 3] = float("nan")
        assert fused.square_relu(x)[0, 0, 3].isnan()
