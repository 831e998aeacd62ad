"""The composition root puts together what the settings ask for, and nothing heavier."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from rwkv_rag import app, models
from rwkv_rag.config import Settings
from rwkv_rag.errors import CorruptData, InputError, ModelMismatch, NotFound, UnsupportedModel
from rwkv_rag.types import GREEDY, Answer, Writer

TEXT = "The annual fee is 48 pounds.\n\nDogs must be kept on a lead.\n"


@contextmanager
def opened(settings: Settings, folder: Path) -> Iterator[app.Client]:
    """The parts of a home with one document in the base "docs"."""
    file = folder / "garden.txt"
    file.write_text(TEXT, encoding="utf-8")
    with app.open_client(settings) as parts:
        if not parts.knowledge.bases():
            parts.knowledge.create("docs")
            for _ in parts.knowledge.index("docs", [file]):
                pass
        yield parts


def save_random(path: Path, extras: Mapping[str, Any] | None = None, *, seed: int = 0) -> None:
    from rwkv_rag.rwkv.checkpoint import save_checkpoint
    from rwkv_rag.rwkv.random_weights import random_tensors

    save_checkpoint(path, {**random_tensors(2, 64, 257, seed=seed), **(extras or {})})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of random weights over a vocabulary of the 256 bytes."""
    from rwkv_rag.rwkv.tokenizer import write_vocabulary

    path = tmp_path / "mine.safetensors"
    save_random(path)
    write_vocabulary(tmp_path / "vocab.txt", [b"", *(bytes([byte]) for byte in range(256))])
    return path


def test_looking_loads_no_model(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rwkv_rag import app, config\n"
        f"with app.open_client(config.Settings(home=Path({str(tmp_path)!r}))) as parts:\n"
        "    assert parts.knowledge.bases() == [] and parts.tuner.jobs() == []\n"
        "    assert parts.models.writers()[0].name == 'builtin'\n"
        "assert not {'torch', 'chromadb', 'numba', 'zmq'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_checkpoint_of_ones_own_answers_with_a_span_of_the_source(
    tmp_path: Path, checkpoint: Path
) -> None:
    with opened(Settings(home=tmp_path / "home", model=str(checkpoint)), tmp_path) as parts:
        answer = answered(parts, "strict")
    assert answer.refused or answer.text in TEXT  # random weights choose, but cannot invent
    assert "generate" in answer.timings


def test_a_checkpoint_smaller_than_its_vocabulary_is_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    (tmp_path / "vocab.txt").unlink()  # the World vocabulary takes its place
    with (
        app.open_client(Settings(home=tmp_path, model=str(checkpoint))) as parts,
        pytest.raises(UnsupportedModel, match=r"257 tokens.*vocab\.txt"),
    ):
        parts.answerer()


@pytest.mark.parametrize(
    ("name", "fault"), [("model.pth", UnsupportedModel), ("missing.pth", NotFound)]
)
def test_a_checkpoint_that_is_none_is_refused_at_once(
    tmp_path: Path, name: str, fault: type[Exception]
) -> None:
    (tmp_path / "model.pth").write_bytes(b"not a model")
    settings = Settings(home=tmp_path / "home", model=str(tmp_path / name))
    with app.open_client(settings) as parts, pytest.raises(fault, match=name):
        parts.pipeline()


def tune(
    home: Path, name: str, base: Path, *, kind: str = "state", base_name: str = "mine"
) -> None:
    """Something in the store: a state of random numbers, or a whole model, the base itself."""
    import torch
    from safetensors.torch import save_file

    from rwkv_rag.rwkv.checkpoint import file_sha256, load_checkpoint
    from rwkv_rag.rwkv.tuned import FILES, Tuned, TunedStore

    store = TunedStore(home)
    store.path(name).mkdir(parents=True)
    Tuned(name, kind, file_sha256(base), base_name, "import").write(store.path(name))  # type: ignore[arg-type]
    if kind == "model":
        (store.path(name) / FILES["model"]).write_bytes(base.read_bytes())
        vocabulary = models.base_files(
            base_name if base_name == "builtin" else str(base)
        ).vocabulary
        (store.path(name) / "vocab.txt").write_bytes(vocabulary.read_bytes())
        return
    heads = load_checkpoint(base).shape.heads
    layers = load_checkpoint(base).shape.layers
    state = {f"blocks.{n}.att.time_state": torch.randn(heads, 64, 64) for n in range(layers)}
    save_file(state, store.path(name) / FILES["state"])


def answered(
    parts: app.Client, mode: Literal["strict", "free"], model: str = "", tuned: str = ""
) -> Answer:
    pipeline = parts.pipeline(parts.writer(model, tuned))
    *_, answer = pipeline.answer("What is the annual fee?", kb="docs", mode=mode)
    assert isinstance(answer, Answer)
    return answer


def test_who_chooses_a_tuned_state_gets_free_answers_that_name_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    tune(home, "poet", models.BUILTIN_WEIGHTS, base_name="builtin")
    with opened(Settings(home=home), tmp_path) as parts:
        plain = answered(parts, "free")
        poet = answered(parts, "free", tuned="poet")
        strict = answered(parts, "strict", tuned="poet")
        assert [tuned.name for tuned in parts.models.tuned("builtin")] == ["poet"]
    assert "generate" not in plain.timings and "cannot write" in plain.note
    assert "generate" in poet.timings and poet.note.startswith("Written by the tuned model poet.")
    assert "read" in strict.timings and strict.citations and "poet" not in strict.note


def test_who_names_a_model_leaves_what_is_set_up_behind(tmp_path: Path) -> None:
    home = tmp_path / "home"
    tune(home, "poet", models.BUILTIN_WEIGHTS, base_name="builtin")
    with app.open_client(Settings(home=home, tuned="poet")) as parts:
        assert parts.writer() == Writer(
            "builtin + poet", "builtin", "poet", writes=True, label="poet"
        )
        assert parts.writer("builtin") == Writer("builtin", "builtin")
        assert parts.models.writers() == [Writer("builtin", "builtin")]
        assert parts.generator().name == "builtin + poet"


def test_a_tuned_model_writes_with_the_vocabulary_of_its_base(tmp_path: Path) -> None:
    home = tmp_path / "home"
    tune(home, "whole", models.BUILTIN_WEIGHTS, kind="model", base_name="builtin")
    with opened(Settings(home=home), tmp_path) as parts:
        _, whole = parts.models.writers()
        assert (whole.name, whole.label, whole.writes, whole.own) == ("whole", "whole", True, False)
        named = answered(parts, "free", tuned="whole")
        as_model = answered(parts, "free", whole.model)
        strict = answered(parts, "strict", whole.model)
    for answer in (named, as_model):
        assert "generate" in answer.timings and "Written by the tuned model whole" in answer.note
    assert "read" in strict.timings


def test_what_was_tuned_on_another_base_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    home = tmp_path / "home"
    tune(home, "mine", checkpoint)
    with app.open_client(Settings(home=home)) as parts:
        with pytest.raises(ModelMismatch, match="'mine' was tuned on mine"):
            parts.answerer(parts.writer(tuned="mine"))
        assert parts.models.tuned("builtin") == []
    with app.open_client(Settings(home=home, model=str(checkpoint))) as parts:
        parts.answerer(parts.writer(tuned="mine"))
        assert [tuned.name for tuned in parts.models.tuned(str(checkpoint))] == ["mine"]


def test_nobody_opens_files_by_naming_them_as_models(tmp_path: Path, checkpoint: Path) -> None:
    home = tmp_path / "home"
    tune(home, "poet", checkpoint)
    strangers = (checkpoint, home / "tuned" / "poet" / "state.safetensors", Path("/etc/passwd"))
    with app.open_client(Settings(home=home)) as parts:
        for stranger in strangers:
            with pytest.raises(NotFound, match=r"no model .* here; there are: builtin"):
                parts.generator(parts.writer(str(stranger)))


def test_stand_ins_take_nothing_tuned(tmp_path: Path) -> None:
    with app.open_client(Settings(home=tmp_path, model="fake")) as parts:
        with pytest.raises(InputError, match="stand-ins cannot write with 'poet'"):
            parts.answerer(parts.writer(tuned="poet"))
        assert parts.models.writers() == [Writer("fake", "fake", writes=True)]
        assert parts.models.tuned("fake") == []


def test_a_damaged_model_does_not_hide_the_others(tmp_path: Path) -> None:
    tune(tmp_path, "whole", models.BUILTIN_WEIGHTS, kind="model", base_name="builtin")
    (tmp_path / "tuned" / "whole" / "model.safetensors").unlink()
    with app.open_client(Settings(home=tmp_path, tuned="whole")) as parts:
        assert [writer.name for writer in parts.models.writers()] == ["builtin"]
        with pytest.raises(CorruptData, match="is missing"):
            parts.pipeline()


def test_questions_of_training_rows_are_made_by_rule_where_the_model_does_not_write(
    tmp_path: Path,
) -> None:
    with opened(Settings(home=tmp_path / "home", model="fake"), tmp_path) as parts:
        assert {event.written_by for event in parts.training_rows("docs", rows=2)} == {"rules"}


def test_one_engine_serves_all_and_a_new_file_gets_a_new_one(
    tmp_path: Path, checkpoint: Path
) -> None:
    def opened() -> object:
        generator = models.open_generator(tmp_path, Writer("mine", str(checkpoint)))
        return generator._engine  # type: ignore[attr-defined]

    first = opened()
    assert opened() is first
    save_random(checkpoint, seed=1)
    assert opened() is not first


def test_generation_begins_from_a_state_that_was_merged_into_the_model(
    tmp_path: Path, checkpoint: Path
) -> None:
    import torch

    def said() -> str:
        generator = models.open_generator(tmp_path, Writer("mine", str(checkpoint)))
        return "".join(d.text for d in generator.generate("Hello", sampling=GREEDY, max_tokens=20))

    plain = said()
    draw = torch.Generator().manual_seed(1)
    states = {
        f"blocks.{n}.att.time_state": torch.randn(1, 64, 64, generator=draw) for n in range(2)
    }
    save_random(checkpoint, states)
    assert said() != plain


def test_services_are_reached_where_the_first_of_them_was() -> None:
    from rwkv_rag.app import _reachable

    told = {
        "llm": "tcp://0.0.0.0:7781",
        "index": "tcp://127.0.0.1:7783",
        "tuning": "ipc:///run/tuning.front",
        "other": "tcp://10.0.0.7:1",
    }
    far = {"llm": "tcp://10.0.0.9:7781", "other": "tcp://10.0.0.7:1"}
    assert _reachable(told, "tcp://10.0.0.9:7781") == far
    near = {**told, "llm": "tcp://127.0.0.1:7781"}
    assert _reachable(told, "tcp://127.0.0.1:7781") == near
    assert _reachable(told, "ipc:///run/llm.front") == near
