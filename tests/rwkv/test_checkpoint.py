"""Reading model files: what is accepted, and what each wrong file is told."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from rwkv_rag.errors import InputError, NotFound, UnsupportedModel
from rwkv_rag.rwkv.checkpoint import (
    dequantize_rows,
    from_tensors,
    load_checkpoint,
    quantize_rows,
    save_checkpoint,
)
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors

RANKS = Ranks(16, 24, 8, 32)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return random_tensors(2, 128, 50, ranks=RANKS)


def refusal(tensors: dict[str, torch.Tensor], path: Path) -> str:
    save_file(tensors, path / "model.safetensors")
    with pytest.raises(UnsupportedModel) as caught:
        load_checkpoint(path / "model.safetensors")
    message = str(caught.value)
    assert message.startswith("model.safetensors: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_model_is_read_with_its_sizes_from_either_format(tensors, tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    if suffix == "pth":
        torch.save(tensors, path)
    else:
        save_checkpoint(path, tensors, {"note": "一"})
    checkpoint = load_checkpoint(path)
    shape = checkpoint.shape
    assert (shape.layers, shape.width, shape.heads, shape.vocab, shape.ffn) == (2, 128, 2, 50, 512)
    assert (shape.rank_w, shape.rank_a, shape.rank_v, shape.rank_g) == RANKS
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in tensors.items())
    assert checkpoint.metadata == ({} if suffix == "pth" else {"note": "一"})


def test_the_content_decides_and_not_the_file_name(tensors, tmp_path):
    torch.save(tensors, tmp_path / "model.safetensors")
    assert load_checkpoint(tmp_path / "model.safetensors").shape.layers == 2


def test_the_old_torch_format_is_read(tensors, tmp_path):
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert load_checkpoint(tmp_path / "old.pth").shape.width == 128


def test_the_hash_is_of_the_file_and_changes_with_it(tensors, tmp_path):
    save_checkpoint(tmp_path / "a.safetensors", tensors)
    first = load_checkpoint(tmp_path / "a.safetensors").sha256
    assert len(first) == 64
    tensors["ln_out.bias"] += 1
    save_checkpoint(tmp_path / "a.safetensors", tensors)
    assert load_checkpoint(tmp_path / "a.safetensors").sha256 != first


def test_int8_matrices_are_read_back_to_half_a_step(tensors, tmp_path):
    stored = dict(tensors)
    for name in ("emb.weight", "blocks.0.ffn.key.weight", "head.weight"):
        stored[name], stored[f"{name}.scale"] = quantize_rows(tensors[name])
    save_checkpoint(tmp_path / "small.safetensors", stored)
    checkpoint = load_checkpoint(tmp_path / "small.safetensors")
    assert checkpoint.stored == "int8"
    assert not checkpoint.extras
    for name in ("emb.weight", "blocks.0.ffn.key.weight", "head.weight"):
        step = stored[f"{name}.scale"][:, None]
        assert ((checkpoint.tensors[name] - tensors[name]).abs() <= 0.5001 * step).all()


def test_an_int8_matrix_without_scales_is_refused(tensors, tmp_path):
    tensors["head.weight"] = torch.zeros(50, 128, dtype=torch.int8)
    assert "head.weight.scale" in refusal(tensors, tmp_path)
    with pytest.raises(UnsupportedModel):
        save_checkpoint(tmp_path / "never.safetensors", tensors)
    assert not (tmp_path / "never.safetensors").exists()


def test_role_heads_and_tuned_states_are_kept_apart_as_extras(tensors):
    tensors["heads.embed.weight"] = torch.ones(4, 128)
    tensors["blocks.1.att.time_state"] = torch.ones(2, 64, 64)
    checkpoint = from_tensors(tensors)
    assert set(checkpoint.extras) == {"heads.embed.weight", "blocks.1.att.time_state"}
    assert not set(checkpoint.extras) & set(checkpoint.tensors)


def test_unread_value_weights_of_the_first_layer_are_tolerated(tensors):
    for name in ("v0", "v1", "v2"):
        tensors[f"blocks.0.att.{name}"] = tensors[f"blocks.1.att.{name}"]
    assert "blocks.0.att.v1" not in from_tensors(tensors).tensors


def test_a_head_is_tied_only_where_the_file_says_so(tensors, tmp_path):
    del tensors["head.weight"]
    assert "head.weight" in refusal(tensors, tmp_path)
    checkpoint = from_tensors(tensors, {"tied_head": "true"})
    assert torch.equal(checkpoint.tensors["head.weight"], tensors["emb.weight"])


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["blocks.0.att.time_maa_x", "blocks.0.att.time_faaaa"], "RWKV-6 (x060)"),
        (["blocks.0.att.time_decay", "blocks.0.att.ln_x.weight"], "RWKV-5"),
        (["blocks.0.att.time_decay", "blocks.0.att.time_first"], "RWKV-4"),
        (["blocks.0.att.r_k", "blocks.0.ffn.s_emb.weight"], "RWKV-7a"),
        (["blocks.0.att.r_k", "blocks.0.ffn.s_emb.weight", "blocks.0.qkv.qq.weight"], "RWKV-7b"),
        (["blocks.0.att.time_state", "blocks.1.att.time_state"], "a tuned state"),
        (["base.blocks.0.att.key.lora_A.weight"], "an adapter"),
        (["rwkv.blocks.0.att.r_k", "head.retr_head.fc1.weight"], "EmbeddingRWKV"),
        (["model.layers.0.attn.r_proj.weight"], "Hugging Face"),
        (["conv1.weight", "fc.bias"], "conv1.weight"),
    ],
)
def test_other_models_are_refused_by_name(tmp_path, names, found):
    message = refusal({name: torch.zeros(2) for name in names}, tmp_path)
    assert found in message


def test_x060_comes_later(tmp_path):
    assert "comes later" in refusal({"blocks.0.att.time_maa_w1": torch.zeros(2)}, tmp_path)


@pytest.mark.parametrize("name", ["blocks.1.ffn.value.weight", "ln_out.bias", "blocks.0.att.w1"])
def test_a_missing_tensor_is_named(tensors, tmp_path, name):
    del tensors[name]
    assert name in refusal(tensors, tmp_path)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tensors, tmp_path):
    tensors["blocks.1.att.key.weight"] = torch.zeros(128, 64)
    message = refusal(tensors, tmp_path)
    assert "blocks.1.att.key.weight" in message
    assert "(128, 64)" in message
    assert "(128, 128)" in message


def test_heads_of_another_size_are_refused(tensors, tmp_path):
    tensors["blocks.0.att.r_k"] = torch.zeros(4, 32)
    assert "32" in refusal(tensors, tmp_path)


def test_tensors_that_nothing_would_read_are_refused(tensors, tmp_path):
    tensors["blocks.0.moe.gate"] = torch.zeros(1)
    assert "blocks.0.moe.gate" in refusal(tensors, tmp_path)


def test_whole_numbers_for_weights_are_refused(tensors, tmp_path):
    tensors["ln_out.bias"] = torch.zeros(128, dtype=torch.int64)
    assert "int64" in refusal(tensors, tmp_path)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
def test_a_file_cut_short_is_refused(tensors, tmp_path, suffix, keep):
    path = tmp_path / f"model.{suffix}"
    torch.save(tensors, path) if suffix == "pth" else save_checkpoint(path, tensors)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(UnsupportedModel, match="cut short"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"GGUF\x03\x00\x00\x00\x00\x00", "GGUF"),
        (b"fmgg\x65\x00\x00\x00\x00\x00", "rwkv.cpp"),
        ("质保期为一年。".encode(), "not a model"),
        (b"PK\x03\x04 a zip of something else", "damaged"),
        (pickle.dumps({"a": Path("x")}), "more than tensors"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content, found):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModel, match=found) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


class Bomb:
    """Runs code when unpickled without care."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_a_pickle_never_runs_code(tmp_path):
    torch.save({"emb.weight": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(UnsupportedModel):
        load_checkpoint(tmp_path / "bomb.pth")


def test_a_training_checkpoint_that_nests_its_weights_is_refused(tensors, tmp_path):
    torch.save({"model": tensors, "step": 3}, tmp_path / "run.pth")
    with pytest.raises(UnsupportedModel, match="'model' is a dict"):
        load_checkpoint(tmp_path / "run.pth")


def test_a_missing_file_and_a_directory_are_told_apart(tmp_path):
    with pytest.raises(NotFound, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere.pth")
    with pytest.raises(UnsupportedModel, match="directory"):
        load_checkpoint(tmp_path)


def test_saving_elsewhere_than_in_safetensors_is_refused(tensors, tmp_path):
    with pytest.raises(InputError, match="safetensors"):
        save_checkpoint(tmp_path / "model.pth", tensors)


def test_a_failed_save_leaves_the_old_file_and_no_rest(tensors, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, tensors)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(path, tensors, {"steps": 3})  # type: ignore[dict-item]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@settings(deadline=None)  # a loaded machine is no fault
@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_every_number_comes_back_to_half_a_step(seed, size):
    weight = torch.randn(5, 33, generator=torch.Generator().manual_seed(seed)) * size
    weight[2] = 0
    quantized, scale = quantize_rows(weight)
    assert quantized.dtype == torch.int8
    error = (dequantize_rows(quantized, scale) - weight).abs()
    assert (error <= 0.501 * scale[:, None]).all()
    assert not dequantize_rows(quantized, scale)[2].any()


def test_each_row_uses_the_whole_range():
    quantized, _ = quantize_rows(torch.randn(4, 64) * torch.tensor([[1e-6], [1.0], [30.0], [1e5]]))
    assert (quantized.abs().amax(dim=1) == 127).all()
