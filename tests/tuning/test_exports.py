"""What leaves the store comes back unchanged, and a merged model says what the two said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rwkv_rag.errors import AlreadyExists, CorruptData, InputError, ModelMismatch, NotFound
from rwkv_rag.rwkv.adapter import Adapter, merged
from rwkv_rag.rwkv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.rwkv.tuned import Tuned, TunedStore
from rwkv_rag.tuning import exports, formats
from rwkv_rag.tuning.network import Network

from .methods.conftest import attached, logits, train


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path = tmp_path_factory.mktemp("base") / "model.safetensors"
    tensors = random_tensors(2, 64, 50, ranks=Ranks(8, 12, 4, 16), seed=7)
    del tensors["head.weight"]
    extra = {"heads.embed.proj.weight": torch.ones(2, 2)}
    save_checkpoint(path, {**tensors, **extra}, {"tied_head": "true"})
    return load_checkpoint(path)


@dataclass(frozen=True)
class Trained:
    """A tuning done once for all tests: its file, and what the trained network says."""

    found: formats.Found
    said: Tensor


@pytest.fixture(scope="module")
def trained(base: Checkpoint) -> dict[str, Trained]:
    return {method: tuning(base, method) for method in ("lora", "pissa", "miss", "state")}


def tuning(base: Checkpoint, method: str, **changes: object) -> Trained:
    network, tuner = attached(base, method, **{"alpha": 9.0, **changes})
    train(network, lr=0.05)
    return Trained(formats.Found("", tuner.kind, tuner.result(network)), logits(network))


def put(store: TunedStore, base: Checkpoint, method: str, done: Trained) -> None:
    """Store the result under the method's name."""
    kind = done.found.kind
    exports.store_found(store, done.found, Tuned(method, kind, base.sha256, "tiny", method))


@pytest.fixture
def store(tmp_path: Path, base: Checkpoint, trained: dict[str, Trained]) -> TunedStore:
    """A store with one result of each method."""
    store = TunedStore(tmp_path / "home")
    for method, done in trained.items():
        put(store, base, method, done)
    return store


def kept(store: TunedStore, name: str) -> dict[str, Tensor]:
    return load_file(store.tensors(name))


def changes(tensors: dict[str, Tensor], base: Checkpoint) -> dict[str, Tensor]:
    return merged(base.tensors, Adapter.of(tensors, base.shape))


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_state_comes_back_bit_for_bit(store, base, tmp_path, ending) -> None:
    assert exports.export(store, "state", tmp_path / f"out{ending}").what == "a state"
    found = formats.read(tmp_path / f"out{ending}", base)
    assert found.kind == "state" and found.tensors.keys() == kept(store, "state").keys()
    for name, tensor in kept(store, "state").items():
        assert torch.equal(found.tensors[name], tensor)


def test_community_programs_find_their_names_in_a_state(store, base, tmp_path) -> None:
    exports.export(store, "state", tmp_path / "state.pth")
    content = torch.load(tmp_path / "state.pth", weights_only=True)
    assert list(content) == ["blocks.0.att.time_state", "blocks.1.att.time_state"]
    assert {tuple(tensor.shape) for tensor in content.values()} == {(1, 64, 64)}


@pytest.mark.parametrize("method", ["lora", "pissa", "miss"])
@pytest.mark.parametrize("form", ["out.safetensors", "out.pth", "folder"])
def test_an_adapter_comes_back_as_the_same_change(store, base, tmp_path, method, form) -> None:
    alpha = exports.export(store, method, tmp_path / form).alpha
    found = formats.read(tmp_path / form, base, alpha=alpha)
    before, after = changes(kept(store, method), base), changes(dict(found.tensors), base)
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0)


def test_low_rank_parts_go_only_into_our_own_file(store, base, tmp_path) -> None:
    put(store, base, "small", tuning(base, "lora", parts=("att", "low_rank")))
    for form in ("out.pth", "folder"):
        with pytest.raises(InputError, match="export it as"):
            exports.export(store, "small", tmp_path / form)
        assert not (tmp_path / form).exists()
    exports.export(store, "small", tmp_path / "out.safetensors")
    found = formats.read(tmp_path / "out.safetensors", base)
    for name, tensor in kept(store, "small").items():
        assert torch.equal(found.tensors[name], tensor)


def test_peft_itself_loads_an_exported_folder(store, base, tmp_path, trained) -> None:
    """Its own program must come to the same words as the network that was trained."""
    from peft import PeftModel

    exports.export(store, "lora", tmp_path / "folder")
    network = Network.from_checkpoint(load_checkpoint(base.path))  # peft merges in place
    loaded = PeftModel.from_pretrained(network, str(tmp_path / "folder"))
    plain = loaded.merge_and_unload()
    torch.testing.assert_close(logits(plain), trained["lora"].said, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", ["lora", "pissa", "miss", "state"])
def test_a_merged_model_says_what_base_and_change_said(
    store, base, tmp_path, trained, method
) -> None:
    exports.merge(store, method, base, tmp_path / "merged.safetensors")
    merged_file = load_checkpoint(tmp_path / "merged.safetensors")
    again = Network.from_checkpoint(merged_file)
    torch.testing.assert_close(logits(again), trained[method].said, rtol=1e-4, atol=1e-4)
    assert merged_file.metadata["tied_head"] == "true"
    assert ("heads.embed.proj.weight" in merged_file.extras) == (method == "state")


def test_a_merged_model_keeps_the_types_of_its_base(store, tmp_path) -> None:
    tensors = random_tensors(2, 64, 50, ranks=Ranks(8, 12, 4, 16), dtype=torch.bfloat16)
    save_checkpoint(tmp_path / "half.safetensors", tensors)
    half = load_checkpoint(tmp_path / "half.safetensors")
    put(store, half, "half", tuning(half, "lora"))
    exports.merge(store, "half", half, tmp_path / "merged.safetensors")
    content = load_file(tmp_path / "merged.safetensors")
    assert {name: t.dtype for name, t in content.items()} == {
        n: t.dtype for n, t in tensors.items()
    }
    assert not torch.equal(content["blocks.0.att.key.weight"], tensors["blocks.0.att.key.weight"])


def test_a_base_with_its_own_vocabulary_leaves_it_beside_the_merged_model(
    store, base, tmp_path
) -> None:
    (tmp_path / "words.txt").write_text("words")
    target, words = tmp_path / "m.safetensors", tmp_path / "words.txt"
    exports.merge(store, "state", base, target, vocabulary=words)
    assert (tmp_path / "vocab.txt").read_text() == "words"
    words.write_text("other words")
    with pytest.raises(AlreadyExists, match="another folder"):
        exports.merge(store, "state", base, tmp_path / "n.safetensors", vocabulary=words)
    assert not (tmp_path / "n.safetensors").exists()


def test_another_base_is_refused_before_anything_is_written(store, base, tmp_path) -> None:
    changed = random_tensors(2, 64, 50, ranks=Ranks(8, 12, 4, 16), seed=8)
    save_checkpoint(tmp_path / "other.safetensors", changed)
    other = load_checkpoint(tmp_path / "other.safetensors")
    with pytest.raises(ModelMismatch, match="tiny"):
        exports.merge(store, "lora", other, tmp_path / "merged.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "other.safetensors"]


def test_nothing_is_written_over(store, base, tmp_path) -> None:
    (tmp_path / "out.safetensors").write_text("mine")
    with pytest.raises(AlreadyExists):
        exports.export(store, "lora", tmp_path / "out.safetensors")
    with pytest.raises(AlreadyExists):
        exports.merge(store, "lora", base, tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_said_in_one_line(store, base, tmp_path) -> None:
    nowhere = tmp_path / "no" / "such"
    for form in ("out.safetensors", "out.pth", "folder"):
        with pytest.raises(InputError, match="is not there to write into") as caught:
            exports.export(store, "lora", nowhere / form)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is not there to write into"):
        exports.merge(store, "lora", base, nowhere / "merged.safetensors")


def test_a_full_disk_leaves_nothing_half_written(store, base, tmp_path, monkeypatch) -> None:

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="No space left"):
        exports.export(store, "lora", tmp_path / "out.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_stored_file_that_is_damaged_is_named(store, base, tmp_path) -> None:
    path = store.tensors("lora")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptData, match="tune or import it again"):
        exports.export(store, "lora", tmp_path / "out.pth")
    with pytest.raises(CorruptData, match="tune or import it again"):
        exports.merge(store, "lora", base, tmp_path / "merged.safetensors")


def test_a_whole_model_is_exported_and_needs_no_merging(store, base, tmp_path) -> None:
    model = Tuned("m", "model", base.sha256, "tiny", "full")
    exports.store_found(store, formats.Found("", "model", dict(random_tensors(2, 64, 50))), model)
    exports.export(store, "m", tmp_path / "m.pth")
    assert load_checkpoint(tmp_path / "m.pth").shape.width == 64
    with pytest.raises(InputError, match="whole model already"):
        exports.merge(store, "m", base, tmp_path / "merged.safetensors")


def test_unknown_names_and_forms_are_refused(store, base, tmp_path) -> None:
    with pytest.raises(NotFound, match="there are: lora, miss, pissa, state"):
        exports.export(store, "x", tmp_path / "x.pth")
    for form in ("x.gguf", "folder"):
        with pytest.raises(InputError, match="no known format"):
            exports.export(store, "state", tmp_path / form)
    with pytest.raises(InputError, match=r"must end in \.safetensors"):
        exports.merge(store, "state", base, tmp_path / "x.pth")


def test_a_damaged_file_is_not_copied_and_a_missing_one_is_told(store, tmp_path) -> None:
    file = store.tensors("lora")
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CorruptData, match=r"is damaged .*; tune or import it again"):
        exports.export(store, "lora", tmp_path / "out.safetensors")
    file.unlink()
    with pytest.raises(CorruptData, match=r"adapter\.safetensors is missing; tune or import"):
        exports.export(store, "lora", tmp_path / "out.safetensors")
    with pytest.raises(InputError, match="none is not there to write into; make the folder"):
        exports.export(store, "miss", tmp_path / "none" / "out.safetensors")
    with pytest.raises(
        InputError, match=r"out\.dir names no known format; .* a folder without an ending"
    ):
        exports.export(store, "miss", tmp_path / "out.dir")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
