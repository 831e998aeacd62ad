"""Files of other programs, written here in their names and formulas, read as our own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rwkv_rag.errors import CorruptData, InputError, ModelMismatch, NotFound, RagError
from rwkv_rag.i18n import _, in_language
from rwkv_rag.rwkv.adapter import Adapter, merged
from rwkv_rag.rwkv.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.tuning import formats


def chinese(error: Exception) -> str:
    """The error's message in Chinese."""
    assert isinstance(error, RagError)
    with in_language("zh"):
        return _(error)


RANKS = Ranks(8, 12, 4, 16)
KEY, OUT, FFN = "blocks.1.att.key", "blocks.0.att.output", "blocks.1.ffn.value"
SIZES = {KEY: (128, 128), OUT: (128, 128), FFN: (128, 512)}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    path = tmp_path_factory.mktemp("base") / "model.safetensors"
    save_checkpoint(path, random_tensors(2, 128, 50, ranks=RANKS, seed=3))
    return load_checkpoint(path)


@pytest.fixture
def other(tmp_path: Path) -> Checkpoint:
    save_checkpoint(tmp_path / "other.safetensors", random_tensors(2, 64, 50, ranks=RANKS))
    return load_checkpoint(tmp_path / "other.safetensors")


def draw(*sizes: int, seed: int = 0) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed)) * 0.1


def pairs(rank: int = 4, seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    return {
        name: (draw(rank, inputs, seed=seed), draw(outputs, rank, seed=seed + 1))
        for name, (outputs, inputs) in SIZES.items()
    }


def slim(tail: str = "", first: str = "", seed: int = 0) -> dict[str, Tensor]:
    named = {}
    for name, (a, b) in pairs(seed=seed).items():
        named[f"{name}.{first}lora_A{tail}"], named[f"{name}.{first}lora_B{tail}"] = a, b
    return named


def change(base: Checkpoint, found: formats.Found) -> dict[str, Tensor]:
    """What the import does to each tensor that it changes."""
    whole = merged(base.tensors, Adapter.of(found.tensors, base.shape))
    return {n: whole[n] - base.tensors[n] for n in whole if whole[n] is not base.tensors[n]}


def same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert got.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(got[name], wanted[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tail", ["", ".weight"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_slim_lora_is_scaled_by_the_alpha_given(base, tmp_path, tail, prefix) -> None:
    torch.save({prefix + n: t for n, t in slim(tail).items()}, tmp_path / "rwkv-0.pth")
    found = formats.read(tmp_path / "rwkv-0.pth", base, alpha=32)
    assert (found.kind, found.rank, found.alpha, found.parts) == ("adapter", 4, 32, ("att", "ffn"))
    same(change(base, found), {f"{n}.weight": b @ a * 8 for n, (a, b) in pairs().items()})


def test_a_slim_lora_without_alpha_asks_for_it(base, tmp_path) -> None:
    torch.save(slim(), tmp_path / "rwkv-0.pth")
    with pytest.raises(InputError, match="--alpha"):
        formats.read(tmp_path / "rwkv-0.pth", base)


def test_tensors_trained_whole_beside_a_lora_replace_the_bases(base, tmp_path) -> None:
    norm, decay = draw(128, seed=5), draw(1, 1, 128, seed=6)
    beside = {"blocks.0.ln1.weight": norm, "blocks.1.att.w0": decay}
    torch.save({**slim(), **beside}, tmp_path / "a.pth")
    found = formats.read(tmp_path / "a.pth", base, alpha=4)
    whole = merged(base.tensors, Adapter.of(found.tensors, base.shape))
    torch.testing.assert_close(whole["blocks.0.ln1.weight"], norm, rtol=0, atol=1e-6)
    torch.testing.assert_close(whole["blocks.1.att.w0"], decay, rtol=0, atol=1e-5)


def test_an_old_pissa_is_the_difference_of_its_two_files(base, tmp_path) -> None:
    torch.save(slim("", "init_", seed=10), tmp_path / "init_pissa.pth")
    torch.save(slim(seed=20), tmp_path / "rwkv-0.pth")
    found = formats.read(tmp_path / "rwkv-0.pth", base, first=tmp_path / "init_pissa.pth")
    before, after = pairs(seed=10), pairs(seed=20)
    wanted = {f"{n}.weight": after[n][1] @ after[n][0] - before[n][1] @ before[n][0] for n in SIZES}
    same(change(base, found), wanted)
    assert found.rank == 8


def test_a_pissa_that_was_never_trained_changes_nothing(base, tmp_path) -> None:
    torch.save(slim("", "init_"), tmp_path / "init_pissa.pth")
    torch.save(slim(), tmp_path / "rwkv-0.pth")
    found = formats.read(tmp_path / "rwkv-0.pth", base, first=tmp_path / "init_pissa.pth")
    for difference in change(base, found).values():
        assert difference.abs().max() < 1e-6


def test_the_first_pairs_of_another_training_are_refused(base, tmp_path) -> None:
    torch.save(slim(), tmp_path / "rwkv-0.pth")
    partial = {n: t for n, t in slim("", "init_").items() if n.startswith(KEY)}
    torch.save(partial, tmp_path / "init_pissa.pth")
    with pytest.raises(ModelMismatch, match="same training"):
        formats.read(tmp_path / "rwkv-0.pth", base, first=tmp_path / "init_pissa.pth")


def test_a_disha_block_is_laid_over_the_inputs(base, tmp_path) -> None:
    blocks = {f"{n}.disha": draw(12, outputs) for n, (outputs, _) in SIZES.items()}
    torch.save(blocks, tmp_path / "rwkv-0.pth")
    found = formats.read(tmp_path / "rwkv-0.pth", base)
    wanted = {}
    for name, (outputs, inputs) in SIZES.items():  # 12 does not divide 128: the end is cut
        block = blocks[f"{name}.disha"]
        rows = [[block[i % 12, o] for i in range(inputs)] for o in range(outputs)]
        wanted[f"{name}.weight"] = torch.tensor(rows)
    same(change(base, found), wanted)
    assert found.rank == 12


def test_a_disha_of_the_multiplying_mode_is_worked_out_on_the_base(base, tmp_path) -> None:
    blocks = draw(512 // 16, 16, 16)
    torch.save({f"{FFN}.disha": blocks}, tmp_path / "rwkv-0.pth")
    weight = base.tensors[f"{FFN}.weight"]
    wanted = torch.zeros_like(weight)
    for row in range(0, 128, 16):
        for column in range(512 // 16):
            tile = slice(row, row + 16), slice(16 * column, 16 * column + 16)
            wanted[tile] = weight[tile] @ blocks[column] + blocks[column]
    same(change(base, formats.read(tmp_path / "rwkv-0.pth", base)), {f"{FFN}.weight": wanted})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_time_state_of_any_type_is_read_as_it_is(base, tmp_path, dtype, ending) -> None:
    states = {f"blocks.{i}.att.time_state": draw(2, 64, 64, seed=i).to(dtype) for i in range(2)}
    path = tmp_path / f"state.{ending}"
    torch.save(states, path) if ending == "pth" else save_file(states, path)
    found = formats.read(path, base)
    assert found.kind == "state" and found.tensors.keys() == states.keys()
    assert all(torch.equal(found.tensors[name], states[name].float()) for name in states)


def peft_folder(folder: Path, config: dict[str, object], tensors: dict[str, Tensor]) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    named = {f"base_model.model.{name}": tensor for name, tensor in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(("stabilised", "scale"), [(False, 3.0), (True, 6.0)])
def test_a_lora_folder_says_its_own_scale(base, tmp_path, stabilised, scale) -> None:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 12, "use_rslora": stabilised}
    folder = peft_folder(tmp_path / "lora", config, slim(".weight"))
    found = formats.read(folder, base, alpha=99)
    same(change(base, found), {f"{n}.weight": b @ a * scale for n, (a, b) in pairs().items()})


def test_a_miss_folder_is_what_peft_says_it_is(base, tmp_path) -> None:
    """peft itself trains, saves and merges; our import must come to the same matrix."""
    from peft import MissConfig, get_peft_model

    inner = torch.nn.ModuleDict({"key": torch.nn.Linear(128, 128, bias=False)})
    inner["key"].weight.data = base.tensors[f"{KEY}.weight"].clone()
    model = torch.nn.ModuleDict({"blocks": torch.nn.ModuleDict({"1": torch.nn.ModuleDict()})})
    model["blocks"]["1"]["att"] = inner  # type: ignore[index]
    tuned = get_peft_model(model, MissConfig(r=12, target_modules=["key"], init_weights=False))
    tuned.save_pretrained(tmp_path / "miss")
    wanted = tuned.merge_and_unload()["blocks"]["1"]["att"]["key"].weight.data
    found = formats.read(tmp_path / "miss", base)
    got = change(base, found)[f"{KEY}.weight"] + base.tensors[f"{KEY}.weight"]
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        {"use_dora": True},
        {"alpha_pattern": {"key": 3}},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
    ],
)
def test_what_peft_can_do_and_we_cannot_is_named(base, tmp_path, config) -> None:
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, **config}
    folder = peft_folder(tmp_path / "lora", settings, slim(".weight"))
    with pytest.raises(InputError) as caught:
        formats.read(folder, base)
    said = str(caught.value).lower()
    assert str(next(iter(config.values()))).lower() in said or next(iter(config)) in said


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), "x", [1], True])
@pytest.mark.parametrize("begun", [True, "pissa"])
def test_an_alpha_that_scales_nothing_is_refused(base, tmp_path, alpha, begun) -> None:
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": alpha, "init_lora_weights": begun}
    folder = peft_folder(tmp_path / "lora", settings, slim(".weight"))
    torch.save(slim(), tmp_path / "first.pth")
    with pytest.raises(InputError, match="alpha") as caught:
        formats.read(folder, base, first=tmp_path / "first.pth" if begun == "pissa" else None)
    in_one_chinese_line(caught.value)


def every_foreign_file(folder: Path) -> None:
    torch.save(slim(), folder / "lora.pth")
    torch.save({f"{KEY}.disha": draw(8, 128)}, folder / "disha.pth")
    torch.save({f"{FFN}.disha": draw(32, 16, 16)}, folder / "bat.pth")
    states = {f"blocks.{i}.att.time_state": draw(2, 64, 64) for i in range(2)}
    torch.save(states, folder / "state.pth")
    save_file(states, folder / "state.safetensors")


NAMES = ["lora.pth", "disha.pth", "bat.pth", "state.pth", "state.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_for_another_shape_is_refused(other, tmp_path, name) -> None:
    every_foreign_file(tmp_path)
    with pytest.raises(ModelMismatch, match="64") as caught:
        formats.read(tmp_path / name, other, alpha=8)
    in_one_chinese_line(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_cut_short_is_refused_in_one_line(base, tmp_path, name) -> None:
    every_foreign_file(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for size in (0, 1, 9, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(RagError) as caught:
            formats.read(path, base, alpha=8)
        in_one_chinese_line(caught.value)


def in_one_chinese_line(error: Exception) -> None:
    assert isinstance(error, RagError) and "\n" not in str(error)
    said = chinese(error)
    assert any("\u4e00" <= char <= "\u9fff" for char in said), said


WRONG: dict[str, Callable[[Path], object]] = {
    "text.pth": lambda path: path.write_text("not a model"),
    "list.pth": lambda path: torch.save([1, 2], path),
    "strange.pth": lambda path: torch.save({"weight": draw(2, 2)}, path),
    "model.pth": lambda path: torch.save(random_tensors(2, 128, 50, ranks=RANKS), path),
    "bone.pth": lambda path: torch.save({f"{KEY}.bone": draw(8, 16, 16)}, path),
    "half.pth": lambda path: torch.save({f"{KEY}.lora_A": draw(4, 128)}, path),
    "flat.pth": lambda path: torch.save({n: t.flatten() for n, t in slim().items()}, path),
    "nan.pth": lambda path: torch.save({n: t / 0 for n, t in slim().items()}, path),
    "empty.pth": lambda path: torch.save({}, path),
    "deep.pth": lambda path: torch.save({f"{KEY}.disha": draw(2, 2, 2, 2)}, path),
    "odd.pth": lambda path: torch.save({**slim(), "blocks.0.gate": draw(4)}, path),
    "ids.pth": lambda path: torch.save({f"{KEY}.disha": torch.ones(4, 128).long()}, path),
    "folder": lambda path: path.mkdir(),
    "missing.pth": lambda path: None,
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_such_file_is_refused_in_one_line_of_either_language(
    base, tmp_path, name
) -> None:
    WRONG[name](tmp_path / name)
    with pytest.raises((InputError, ModelMismatch, CorruptData, NotFound)) as caught:
        formats.read(tmp_path / name, base, alpha=8)
    in_one_chinese_line(caught.value)
    assert ";" in str(caught.value) or ":" in str(caught.value)


@pytest.mark.parametrize("config", ["", "[]", "{", "x" * (2 << 20)])
def test_a_folder_with_a_broken_config_is_refused(base, tmp_path, config) -> None:
    folder = peft_folder(tmp_path / "lora", {}, slim(".weight"))
    (folder / "adapter_config.json").write_text(config)
    with pytest.raises(InputError, match="no config of peft") as caught:
        formats.read(folder, base)
    in_one_chinese_line(caught.value)
