"""A block on its own, as heads of other rooms use it."""

from __future__ import annotations

import torch

from rwkv_rag.rwkv.block import Block, Packing
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.rwkv.reference import LayerState, Reference

WIDTH = 128
TENSORS = random_tensors(2, WIDTH, 10, ranks=Ranks(16, 24, 8, 32), seed=4)


def by_reference(
    prefix: str, x: torch.Tensor, wkv: torch.Tensor
) -> tuple[torch.Tensor, LayerState]:
    reference = Reference(TENSORS)
    memory = LayerState(torch.zeros(WIDTH), torch.zeros(WIDTH), wkv.clone())
    rows = []
    for row in x:
        inner = reference.norm("blocks.0.ln0", row) if prefix == "blocks.0." else row
        rows.append(reference.block(prefix, inner, None, memory)[0])
    return torch.stack(rows), memory


def shifts(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(batch, WIDTH), torch.zeros(batch, WIDTH)


def test_it_runs_one_step_from_given_states():
    wkv = torch.randn(3, 2, 64, 64)
    x = torch.randn(3, WIDTH)
    wanted = [by_reference("blocks.0.", x[i : i + 1], wkv[i])[0] for i in range(3)]
    state = wkv.clone()
    out, _ = Block(TENSORS, "blocks.0.").forward(x, Packing([1, 1, 1]), None, state, *shifts(3))
    assert torch.allclose(out, torch.cat(wanted), atol=1e-5)
    assert not torch.equal(state, wkv)


def test_it_runs_over_packed_inputs_that_are_no_embeddings_and_leaves_them():
    x = torch.randn(11, WIDTH)
    before = x.clone()
    block = Block({name: t for name, t in TENSORS.items() if "ln0" not in name}, "blocks.0.")
    state = torch.zeros(2, 2, 64, 64)
    att, ffn = shifts(2)
    out, v_first = block.forward(x, Packing([4, 7]), None, state, att, ffn)
    assert torch.equal(x, before)
    assert v_first.shape == x.shape

    tensors = Reference(TENSORS)
    memory = LayerState(torch.zeros(WIDTH), torch.zeros(WIDTH), torch.zeros(2, 64, 64))
    wanted = torch.stack([tensors.block("blocks.0.", row, None, memory)[0] for row in x[4:]])
    assert torch.allclose(out[4:], wanted, atol=1e-5)
    assert torch.allclose(state[1], memory.wkv, atol=1e-5)
    assert torch.allclose(att[1], memory.att, atol=1e-5)
    assert torch.allclose(ffn[1], memory.ffn, atol=1e-5)


def test_packing_knows_the_last_row_of_each_sequence():
    packing = Packing([3, 1, 2])
    assert packing.starts.tolist() == [0, 3, 4, 6]
    assert packing.last.tolist() == [2, 3, 5]
    assert packing.total == 6
