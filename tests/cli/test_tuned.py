"""`tune shelf|import|export|merge|remove`: what was tuned comes in, is shown, goes out and goes.

All on a tiny random model given by its path.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rwkv_rag.rwkv.checkpoint import load_checkpoint, save_checkpoint
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors

from .conftest import Cli, Ran, english_left

RANKS = Ranks(8, 12, 4, 16)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "tiny.safetensors", random_tensors(2, 64, 50, ranks=RANKS))
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    states = {f"blocks.{i}.att.time_state": torch.randn(1, 64, 64) for i in range(2)}
    torch.save(states, tmp_path / "state.pth")
    return tmp_path / "state.pth"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    name = "blocks.1.att.key"
    pair = {f"{name}.lora_A": torch.randn(4, 64), f"{name}.lora_B": torch.randn(64, 4)}
    torch.save(pair, tmp_path / "lora.pth")
    return tmp_path / "lora.pth"


Import = Callable[..., Ran]


@pytest.fixture
def take_in(cli: Cli, model: Path) -> Import:
    def call(file: Path, name: str, *more: object) -> Ran:
        return cli("tune", "import", file, "--name", name, "--model", model, *more)

    return call


def test_an_imported_state_stands_on_the_shelf_and_can_be_taken_off(
    cli: Cli, take_in: Import, state: Path
) -> None:
    assert "time_state" in take_in(state, "诗").out
    [thing] = cli("tune", "shelf", "--json").json
    assert (thing["name"], thing["kind"], thing["method"]) == ("诗", "state", "import")
    assert thing["base_name"] == "tiny" and len(thing["base"]) == 64
    assert "诗" in cli("tune", "shelf").out
    assert cli("tune", "remove", "诗", "--yes").code == 0
    assert cli("tune", "shelf", "--json").json == []


def test_an_empty_shelf_says_how_to_begin(cli: Cli) -> None:
    ran = cli("tune", "shelf")
    assert ran.code == 0 and ran.out == "" and "rwkv-rag tune start" in ran.err


def test_a_lora_is_merged_with_the_alpha_given(
    cli: Cli, take_in: Import, model: Path, lora: Path, tmp_path: Path
) -> None:
    assert take_in(lora, "a", "--alpha", 8).code == 0
    merged = tmp_path / "merged.safetensors"
    assert cli("tune", "merge", "a", merged, "--model", model).code == 0
    pair = torch.load(lora, weights_only=True)
    wanted = pair["blocks.1.att.key.lora_B"] @ pair["blocks.1.att.key.lora_A"] * 2
    name = "blocks.1.att.key.weight"
    got = load_checkpoint(merged).tensors[name] - load_checkpoint(model).tensors[name]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_an_export_tells_the_alpha_that_its_file_lacks(
    cli: Cli, take_in: Import, lora: Path, tmp_path: Path
) -> None:
    take_in(lora, "a", "--alpha", 8)
    ran = cli("tune", "export", "a", tmp_path / "out.pth")
    assert ran.code == 0 and "alpha of 4" in ran.err
    assert take_in(tmp_path / "out.pth", "b", "--alpha", 4).code == 0
    assert cli("tune", "export", "b", tmp_path / "folder", "--json").json["alpha"] is None
    assert (tmp_path / "folder" / "adapter_config.json").exists()


@pytest.mark.parametrize(("typed", "left"), [("n\n", 1), ("y\n", 0), ("", 1)])
def test_removing_asks_first(
    cli: Cli,
    take_in: Import,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    left: int,
) -> None:
    take_in(state, "a")
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert cli("tune", "remove", "a").code == (1 if left else 0)
    assert len(cli("tune", "shelf", "--json").json) == left


def test_what_goes_wrong_is_one_line_of_chinese(
    cli: Cli, take_in: Import, model: Path, state: Path, lora: Path, tmp_path: Path
) -> None:
    take_in(state, "a")
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, random_tensors(2, 128, 50, ranks=RANKS))
    (tmp_path / "text.pth").write_text("no tensors")
    by_name = ("--model", model, "--name")
    wrong = (
        ("tune", "import", state, *by_name, "a"),
        ("tune", "import", state, *by_name, "a/b"),
        ("tune", "import", state, "--model", other, "--name", "b"),
        ("tune", "import", lora, *by_name, "b"),
        ("tune", "import", tmp_path / "text.pth", *by_name, "b"),
        ("tune", "import", tmp_path / "missing.pth", *by_name, "b"),
        ("tune", "import", model, *by_name, "b"),
        ("tune", "export", "b", tmp_path / "b.pth"),
        ("tune", "export", "a", tmp_path / "b.gguf"),
        ("tune", "export", "a", state),
        ("tune", "merge", "a", tmp_path / "m.safetensors", "--model", other),
        ("tune", "merge", "a", tmp_path / "m.pth", "--model", model),
        ("tune", "remove", "b", "--yes"),
    )
    for arguments in wrong:
        ran = cli(*arguments, "--lang", "zh")
        assert ran.code == 2 and ran.err.count("\n") == 1, ran.err
        said = ran.err.removeprefix("错误").replace(str(tmp_path), "")
        assert any("\u4e00" <= char <= "\u9fff" for char in said), ran.err
        assert english_left(said) == [], ran.err
    assert [thing["name"] for thing in cli("tune", "shelf", "--json").json] == ["a"]
    assert not list(tmp_path.glob("[mb].*"))
