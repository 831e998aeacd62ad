"""A fine-tuning from top to bottom: it learns, it goes on, and its result is what was trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rwkv_rag import models
from rwkv_rag.errors import AlreadyExists, ModelMismatch
from rwkv_rag.rwkv.checkpoint import load_checkpoint, save_checkpoint
from rwkv_rag.rwkv.layout import shape_of
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.rwkv.tuned import Tuned, TunedStore
from rwkv_rag.tuning import exports, run
from rwkv_rag.tuning.dataset import prepare
from rwkv_rag.tuning.devices import one_device
from rwkv_rag.tuning.run import Order, Stopped, prepare_rows, tune
from rwkv_rag.tuning.settings import BaseFiles
from rwkv_rag.tuning.tracking import Record, Sink, read_metrics
from rwkv_rag.types import TuneSettings

SHAPE = shape_of(random_tensors(2, 64, 257, ranks=Ranks(8, 8, 8, 16)))


class Watch:
    """Remembers what it is told; asks to stop when a step is reached."""

    def __init__(self, stop_at: int = 1 << 30) -> None:
        self.sinks: list[Sink] = [self]
        self.values: dict[str, Any] = {}
        self.notes: list[str] = []
        self.step, self.stop_at = 0, stop_at

    def log(self, record: Record) -> None:
        self.step = record["step"]

    def tell(self, **values: Any) -> None:
        self.values.update(values)

    def note(self, line: str) -> None:
        self.notes.append(line)

    def stop(self) -> bool:
        return self.step >= self.stop_at


Ordered = Callable[..., Order]


@pytest.fixture
def ordered(tmp_path: Path, files: BaseFiles, settings: Callable[..., TuneSettings]) -> Ordered:
    """An order with a folder of its own; rates are what the caller gives, else 0.05 to 0.005."""

    def make(folder: str = "job", **changes: Any) -> Order:
        (tmp_path / folder).mkdir(exist_ok=True)
        rated = {"lr": 0.05, "lr_final": 0.005, **changes}
        return Order(settings(**rated), files, tmp_path / folder, TunedStore(tmp_path))

    return make


def ran(order: Order, watch: Watch | None = None) -> Tuned | None:
    watch = watch or Watch()
    prepare_rows(order, watch)
    return tune(order, one_device(), watch)


def curve(order: Order) -> list[float]:
    return [record["loss"] for record in read_metrics(order.folder / "metrics.jsonl")]


@pytest.mark.parametrize("method", ["state", "lora", "pissa", "miss", "full"])
def test_every_method_learns_and_stores_its_kind(ordered: Ordered, method: str) -> None:
    rate = 0.3 if method == "state" else 0.003
    order = ordered(name=method, method=method, steps=12, rank=4, lr=rate, lr_final=rate / 10)
    watch = Watch()
    tuned = ran(order, watch)
    assert tuned is not None and tuned == order.store.find(method)
    assert tuned.before is not None and tuned.after is not None
    assert tuned.after < tuned.before - 0.05
    assert watch.values["before"] == tuned.before and watch.values["steps"] == 12
    assert tuned.base == load_checkpoint(order.base.model).sha256
    assert tuned.tokens == sum(r["tokens"] for r in read_metrics(order.folder / "metrics.jsonl"))
    assert order.store.tensors(method).exists()


def test_a_tuned_state_loads_for_its_base_and_a_tuned_model_runs(ordered: Ordered) -> None:
    shape = load_checkpoint(ordered().base.model).shape
    ran(ordered("a", name="cat", steps=3))
    state = State.from_time_state(load_file(ordered().store.tensors("cat")), shape)
    assert state.wkv.abs().max() > 0.01
    ran(ordered("b", name="whole", method="full", steps=3, lr=1e-3, lr_final=1e-4))
    path = ordered().store.tensors("whole")
    before, after = load_checkpoint(ordered().base.model), load_checkpoint(path)
    assert after.shape == before.shape and (path.parent / "vocab.txt").exists()
    moved = [
        name for name, tensor in after.tensors.items() if not tensor.equal(before.tensors[name])
    ]
    assert "blocks.0.att.key.weight" in moved and "emb.weight" in moved


def test_what_is_tuned_on_a_tuned_model_keeps_its_vocabulary(
    ordered: Ordered, tmp_path: Path
) -> None:
    """Its file no longer says which model it all began with."""
    rates = {"method": "full", "steps": 2, "lr": 1e-3, "lr_final": 1e-4}
    order = ordered("first", name="first", **rates)
    for name in ("second", "third"):
        ran(order)
        base = models.base_files(str(order.store.tensors(order.settings.name)))
        assert base.vocabulary.read_bytes() == ordered().base.vocabulary.read_bytes()
        order = replace(ordered(name, name=name, **rates), base=base)
    (tmp_path / "out").mkdir()
    exports.export(order.store, "second", tmp_path / "out" / "second.safetensors")
    there = models.base_files(str(tmp_path / "out" / "second.safetensors"))
    assert there.vocabulary == tmp_path / "out" / "vocab.txt"


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_base_that_has_a_state_is_trained_as_it_reads(
    ordered: Ordered, tmp_path: Path, method: str
) -> None:
    first = ran(ordered("state", name="cat", steps=8, lr=0.3))
    assert first is not None and first.after is not None
    path = tmp_path / "merged.safetensors"
    exports.merge(ordered().store, "cat", load_checkpoint(ordered().base.model), path)
    rates = {"method": method, "rank": 4, "steps": 2, "lr": 1e-4, "lr_final": 1e-5}
    order = replace(ordered(method, name=method, **rates), base=replace(ordered().base, model=path))
    tuned = ran(order)
    assert tuned is not None and tuned.before == pytest.approx(first.after, abs=1e-3)
    if method == "full":
        state = State.of_checkpoint(load_checkpoint(order.store.tensors("full")).extras, SHAPE)
        assert state is not None and state.wkv.abs().max() > 0.01


def test_a_base_that_is_no_longer_the_same_file_is_refused(
    ordered: Ordered, tmp_path: Path
) -> None:
    path = tmp_path / "base.safetensors"
    shutil.copyfile(ordered().base.model, path)
    order = replace(ordered(), base=replace(ordered().base, model=path))
    assert ran(order, Watch(stop_at=2)) is None
    save_checkpoint(path, random_tensors(2, 64, 257, ranks=Ranks(8, 8, 8, 16), seed=8))
    with pytest.raises(ModelMismatch, match=r"base\.safetensors is not the file that this job beg"):
        ran(order)


def test_rows_longer_than_the_context_are_told(ordered: Ordered) -> None:
    watch = Watch()
    ran(ordered(context=16, steps=1), watch)
    longest = run.read_prepared(ordered().folder).longest
    assert any(
        "longer than the context of 16 tokens" in note and f"has {longest}" in note
        for note in watch.notes
    )
    quiet = Watch()
    ran(ordered("whole", name="whole", context=64, steps=1), quiet)
    assert not any("longer than" in note for note in quiet.notes)


@pytest.mark.parametrize("method", ["state", "pissa"])
def test_a_stopped_job_goes_on_with_the_same_losses_to_the_same_result(
    ordered: Ordered, method: str
) -> None:
    whole = ordered("whole", name="whole", method=method, accumulate=2, rank=4)
    cut = ordered("cut", name="cut", method=method, accumulate=2, rank=4)
    first = ran(whole)
    assert ran(cut, Watch(stop_at=3)) is None
    assert not cut.store.path("cut").exists()
    moved = cut.folder.rename(cut.folder.with_name("moved"))  # with its home, say
    cut = replace(cut, folder=moved)
    watch = Watch()
    second = ran(cut, watch)
    assert first is not None and second is not None
    assert curve(cut) == curve(whole)
    assert replace(second, name="", created="") == replace(first, name="", created="")
    results = [cut.store.tensors(name).read_bytes() for name in ("whole", "cut")]
    assert results[0] == results[1]


def test_epochs_are_counted_in_rows(ordered: Ordered) -> None:
    order = ordered(epochs=2.0, batch=4, held_out=0.2, method="state")
    tuned = ran(order)
    assert tuned is not None and tuned.steps == 12  # 24 rows, twice, four at a time


def test_infinite_context_trains_on_whole_rows(ordered: Ordered) -> None:
    order = ordered(method="lora", rank=4, chunk=8, context=16, steps=3)
    tuned = ran(order)
    rows = run.read_prepared(order.folder)
    assert tuned is not None and rows.longest > 16
    assert tuned.tokens > 3 * 4 * 16  # cut to the context it would be less


def test_a_killed_job_finds_its_own_result_and_another_does_not_take_its_place(
    ordered: Ordered,
) -> None:
    order = ordered(steps=2)
    first = ran(order)
    assert ran(order) == first  # killed after the result was there and before it was told
    with pytest.raises(AlreadyExists, match="something tuned called 'short' already"):
        ran(ordered("other", steps=3))


def test_bad_lines_are_told_and_preparing_can_be_stopped(
    ordered: Ordered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "bad.jsonl"
    good = json.dumps({"question": "a?", "answer": "b"})
    data.write_text(f"{good}\nno json\n{good.replace('b', 'c')}\n", encoding="utf-8")
    watch = Watch()
    prepare_rows(ordered(data=data, skip_bad=True), watch)
    assert any(note.startswith("skipped line 2: ") for note in watch.notes)
    with pytest.raises(Stopped):
        prepare_rows(ordered("stopped", data=data, skip_bad=True), Watch(stop_at=0))
    assert not (tmp_path / "stopped" / run.ROWS).exists()


def test_without_rows_held_back_nothing_is_measured(ordered: Ordered) -> None:
    tuned = ran(ordered(held_out=0.0, steps=2))
    assert tuned is not None and tuned.before is None and tuned.after is None
    assert tuned.loss is not None and torch.isfinite(torch.tensor(tuned.loss))


def test_a_file_of_tokens_that_changed_is_not_gone_on_with(
    ordered: Ordered, tmp_path: Path
) -> None:
    tokens = Tokenizer.from_file(ordered().base.vocabulary)
    prepare(ordered().settings.data, tmp_path / "own", tokens)
    order = ordered(data=tmp_path / "own.bin")
    assert ran(order, Watch(stop_at=2)) is None
    content = bytearray((tmp_path / "own.bin").read_bytes())
    content[10] ^= 1
    (tmp_path / "own.bin").write_bytes(content)
    with pytest.raises(ModelMismatch, match=r"own\.bin is not the file that this job began with"):
        ran(order)
    content[10] ^= 1
    (tmp_path / "own.bin").write_bytes(content)
    assert ran(order) is not None


def test_a_stop_before_the_first_step_is_measured_again_later(ordered: Ordered) -> None:
    class Now(Watch):
        def stop(self) -> bool:
            return bool(self.notes)  # once the rows are there

    fresh = ordered("fresh", name="fresh", steps=2)
    assert ran(fresh, Now()) is None and curve(fresh) == []
    tuned = ran(fresh)
    assert tuned is not None and tuned.before is not None
