"""Adapter files: every kind becomes pairs and differences, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from rwkv_rag.errors import CorruptData, ModelMismatch, NotFound
from rwkv_rag.rwkv import layout
from rwkv_rag.rwkv.adapter import Adapter, LowRank, merged
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors

TENSORS = random_tensors(2, 128, 50, ranks=Ranks(16, 24, 8, 32))
SHAPE = layout.shape_of(TENSORS)
KEY = "blocks.1.ffn.key.weight"  # (512, 128)
OTHER = layout.shape_of(random_tensors(2, 64, 50, ranks=Ranks(16, 24, 8, 32)))


def draw(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed))


def every_kind() -> dict[str, Tensor]:
    return {
        f"{KEY}.lora_A": draw(4, 128),
        f"{KEY}.lora_B": draw(512, 4, seed=1),
        "blocks.0.att.output.weight.miss": draw(16, 128, seed=2),
        "blocks.0.att.w1.delta": draw(128, 16, seed=3),
        "blocks.0.att.w2.delta": draw(16, 128, seed=4),
        "blocks.1.att.x_r.delta": draw(1, 1, 128, seed=5),
        "blocks.1.att.r_k.delta": draw(2, 64, seed=6),
        "ln_out.bias.delta": draw(128, seed=7),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Adapter.save(tmp_path / "adapter.safetensors", every_kind())
    return tmp_path / "adapter.safetensors"


def test_each_kind_changes_its_tensor_as_its_formula_says(path: Path) -> None:
    given, whole = every_kind(), merged(TENSORS, Adapter.load(path, SHAPE))
    change = {name: whole[name] - TENSORS[name] for name in TENSORS}
    near = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(change[KEY], given[f"{KEY}.lora_B"] @ given[f"{KEY}.lora_A"], **near)
    miss = given["blocks.0.att.output.weight.miss"]
    slow = torch.tensor([[miss[i % 16, o] for i in range(128)] for o in range(128)])
    torch.testing.assert_close(change["blocks.0.att.output.weight"], slow, **near)
    changed = {KEY, "blocks.0.att.output.weight"}
    for name, tensor in given.items():
        if name.endswith(".delta"):
            target = name.removesuffix(".delta")
            changed.add(target)
            torch.testing.assert_close(change[target].flatten(), tensor.flatten(), **near)
    for name in TENSORS.keys() - changed:
        assert whole[name] is TENSORS[name]


def test_vectors_come_flat_and_small_matrices_as_small_pairs(path: Path) -> None:
    adapter = Adapter.load(path, SHAPE)
    assert adapter.deltas["blocks.1.att.x_r"].shape == (128,)
    assert adapter.deltas["blocks.1.att.r_k"].shape == (2, 64)
    assert adapter.pairs["blocks.0.att.w1"].rank == adapter.pairs["blocks.0.att.w2"].rank == 16
    assert adapter.pairs["blocks.0.att.output.weight"].rank == 16


@settings(max_examples=30, deadline=None)
@given(rank=st.integers(1, 20), width=st.integers(20, 50), outputs=st.integers(1, 9))
def test_a_miss_block_is_laid_over_the_inputs_again_and_again(rank, width, outputs) -> None:
    miss = draw(rank, outputs, seed=rank)
    pair = LowRank.of_miss(miss, width)
    x = draw(3, width)
    padded = torch.nn.functional.pad(x, (0, -width % rank))
    wanted = padded.reshape(3, -1, rank).sum(1) @ miss
    torch.testing.assert_close(x @ pair.delta.T, wanted, rtol=1e-4, atol=1e-4)


def test_half_precision_models_keep_their_type_and_are_added_to_in_full(path: Path) -> None:
    half = {name: tensor.bfloat16() for name, tensor in TENSORS.items()}
    adapter = Adapter.load(path, SHAPE)
    whole = merged(half, adapter)
    assert {tensor.dtype for tensor in whole.values()} == {torch.bfloat16}
    exact = (half[KEY].float() + adapter.pairs[KEY].delta).bfloat16()
    assert torch.equal(whole[KEY], exact)


def test_an_adapter_for_another_shape_is_refused_with_both_shapes(path: Path) -> None:
    with pytest.raises(ModelMismatch) as caught:
        Adapter.load(path, OTHER)
    said = str(caught.value)
    assert "128" in said and "64" in said and "\n" not in said


@pytest.mark.parametrize(
    "name",
    [
        "blocks.7.att.key.weight.delta",
        "emb.weight.delta",
        "head.weight.delta",
        "blocks.0.att.v1.delta",
        "nothing.delta",
        "blocks.1.att.x_r.miss",
        ".delta",
    ],
)
def test_what_the_model_does_not_have_cannot_be_changed(tmp_path: Path, name: str) -> None:
    Adapter.save(tmp_path / "a.safetensors", {name: draw(128, 128)})
    with pytest.raises(ModelMismatch, match="tuned on"):
        Adapter.load(tmp_path / "a.safetensors", SHAPE)


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        ({}, "empty"),
        ({KEY: draw(512, 128)}, "no adapter"),
        ({f"{KEY}.lora_A": draw(4, 128)}, "whole"),
        ({f"{KEY}.lora_A": draw(4, 128), f"{KEY}.lora_B": draw(512, 5)}, "fit together"),
        ({f"{KEY}.delta": draw(512, 128), f"{KEY}.miss": draw(4, 512)}, "whole"),
        ({f"{KEY}.delta": torch.zeros(512, 128, dtype=torch.int32)}, "I32"),
        ({f"{KEY}.delta": draw(512, 128) / 0}, "numbers"),
    ],
)
def test_what_is_no_whole_adapter_is_refused_in_one_line(tmp_path: Path, tensors, word) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(CorruptData) as caught:
        Adapter.load(tmp_path / "a.safetensors", SHAPE)
    assert word in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("rank", [0, 257])
def test_a_rank_beyond_reason_is_refused_before_it_is_read(tmp_path: Path, rank: int) -> None:
    tensors = {f"{KEY}.lora_A": torch.zeros(rank, 128), f"{KEY}.lora_B": torch.zeros(512, rank)}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ModelMismatch):
        Adapter.load(tmp_path / "a.safetensors", SHAPE)


def test_a_file_cut_short_at_any_byte_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for size in (0, 1, 8, 9, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CorruptData, match="tune or import it again"):
            Adapter.load(path, SHAPE)


def test_a_pickle_is_never_opened_and_a_missing_file_is_named(tmp_path: Path) -> None:
    torch.save({f"{KEY}.delta": draw(512, 128)}, tmp_path / "a.pth")
    with pytest.raises(CorruptData):
        Adapter.load(tmp_path / "a.pth", SHAPE)
    with pytest.raises(NotFound, match="no such adapter"):
        Adapter.load(tmp_path / "b.safetensors", SHAPE)
