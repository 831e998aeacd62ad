"""One fine-tuning from top to bottom: base, rows, method, training, measuring, storing.

Knows no job list: who watches is told how far it is and says when to stop. What a later process
needs to go on exactly is in the job's folder.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors.torch import load_file, save_file

from rwkv_rag.errors import Message, ModelMismatch, NotFound
from rwkv_rag.rwkv.checkpoint import Checkpoint, load_checkpoint
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.rwkv.tuned import Tuned, TunedStore
from rwkv_rag.tuning.binidx import bin_path
from rwkv_rag.tuning.dataset import Batches, Prepared, Rows, prepare
from rwkv_rag.tuning.devices import whole
from rwkv_rag.tuning.exports import storing, write_model
from rwkv_rag.tuning.memory import matrices_of
from rwkv_rag.tuning.methods import Method, method_named
from rwkv_rag.tuning.network import Network
from rwkv_rag.tuning.settings import BaseFiles
from rwkv_rag.tuning.task import LanguageModel, LanguageTask, agreement
from rwkv_rag.tuning.tracking import Sink, read_metrics
from rwkv_rag.tuning.trainer import Trainer, TrainerSettings
from rwkv_rag.types import TuneSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ROWS = "rows.json"
BASE = "base.json"
BEFORE = "before.json"
FIXED = "fixed.safetensors"
METRICS = "metrics.jsonl"
LAST = 10  # steps whose mean loss is told of the result


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained, on what, in which folder, and where the result goes."""

    settings: TuneSettings
    base: BaseFiles
    folder: Path
    store: TunedStore


class Watch(Protocol):
    """Who follows a fine-tuning."""

    @property
    def sinks(self) -> list[Sink]:
        """Who takes the figures of each step."""

    def tell(self, **values: Any) -> None:
        """New values of the job: `steps`, `before`, `after`."""

    def note(self, line: str) -> None:
        """A line for the log."""

    def stop(self) -> bool:
        """Whether to stop as soon as possible."""


class Stopped(Exception):
    """The user asked to stop while there was nothing yet to keep."""


def tune(order: Order, fabric: Fabric, watch: Watch) -> Tuned | None:
    """Train as ordered, from the last checkpoint if there is one; None where it was stopped.

    The rows have been prepared (`prepare_rows`). Raises TuningFailed and what the parts raise.
    """
    checkpoint = load_checkpoint(order.base.model)
    sha256 = same_base(order.folder, checkpoint)
    prepared = read_prepared(order.folder)
    batches = open_batches(order.settings, prepared, fabric)
    settings = replace(order.settings, steps=steps_of(order.settings, batches))
    watch.tell(steps=settings.steps)
    if batches.cut:
        watch.note(
            f"{batches.cut} rows are longer than the context of {settings.context} tokens and are "
            f"read in pieces; the longest has {prepared.longest}"
        )

    method = method_named(settings.method)
    network = attached(order, method, checkpoint, fabric.device)
    task = LanguageTask(
        batches,
        fabric.device,
        accumulate=settings.accumulate,
        chunk=settings.chunk,
        most=agreement(fabric),
    )
    trainer = Trainer(
        LanguageModel(network),
        task.parts,
        trainer_settings(settings, order.folder),
        fabric=fabric,
        weigh=task.weight,
        sinks=watch.sinks,
    )

    most, asked = agreement(fabric), False

    def stop() -> bool:  # all devices ask before each batch, and end together
        nonlocal asked
        asked = bool(most(int(watch.stop())))
        return asked

    def held_out() -> float | None:
        return task.held_out_loss(trainer.module, stop=stop)

    before = measured_before(order.folder, held_out, fresh=trainer.step == 0)
    watch.tell(before=before)
    if asked or not trainer.run(stop=watch.stop):
        return None
    after = held_out()
    if asked:
        return None  # stopped while measuring; resuming measures again
    watch.tell(after=after)
    with whole(fabric, trainer.module):
        tensors = method.result(network)
    if not fabric.is_global_zero:
        return None
    told = manifest(settings, method, prepared, read_metrics(order.folder / METRICS))
    tuned = replace(told, base=sha256, base_name=order.base.name)
    return tuned_model_at(order, replace(tuned, before=before, after=after), tensors, checkpoint)


def prepare_rows(order: Order, watch: Watch) -> None:
    """Turn the job's data into rows in its folder, unless that is done. Raises Stopped."""
    path = order.folder / ROWS
    if path.exists():
        return same_rows(read_prepared(order.folder), order.settings)
    settings, told = order.settings, 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if watch.stop():
            raise Stopped
        percent = 100 * done // max(1, total)
        if percent >= told + 5:
            told = percent
            watch.note(f"preparing rows: {percent} %")

    prepared = prepare(
        settings.data,
        order.folder / "rows",
        Tokenizer.from_file(order.base.vocabulary),
        scored=settings.scored,
        skip_bad=settings.skip_bad,
        progress=progress,
        vocabulary=load_checkpoint(order.base.model).shape.vocab,
    )
    for number, reason in prepared.skipped:
        watch.note(f"skipped line {number}: {reason}")
    watch.note(
        f"{prepared.rows} rows, {prepared.tokens} tokens, {prepared.scored} of them scored; "
        f"{prepared.bad} bad lines skipped"
    )
    here = prepared.prefix.parent == order.folder  # a home may be moved
    prefix = prepared.prefix.name if here else str(prepared.prefix)
    _write(path, {**asdict(prepared), "prefix": prefix})


def read_prepared(folder: Path) -> Prepared:
    """What `prepare_rows` left."""
    values = json.loads((folder / ROWS).read_text(encoding="utf-8"))
    skipped = tuple((int(n), Message.from_json(reason)) for n, reason in values.pop("skipped"))
    return Prepared(**{**values, "prefix": folder / values["prefix"], "skipped": skipped})


def same_rows(prepared: Prepared, settings: TuneSettings) -> None:
    """Raise ModelMismatch where a .bin that is used in place was changed since the job began."""
    if Rows.open(prepared.prefix, scored=settings.scored).sha256 != prepared.sha256:
        raise ModelMismatch(
            "{prefix} is not the file that this job began with; put that one back or "
            "start a new job",
            prefix=bin_path(prepared.prefix),
        )


def same_base(folder: Path, checkpoint: Checkpoint) -> str:
    """The hash of the base's file. ModelMismatch where the job began with another."""
    path = folder / BASE
    if not path.exists():
        _write(path, checkpoint.sha256)
    if json.loads(path.read_text(encoding="utf-8")) != checkpoint.sha256:
        raise ModelMismatch(
            "{path} is not the file that this job began with; put that one back or start a new job",
            path=checkpoint.path,
        )
    return checkpoint.sha256


def open_batches(settings: TuneSettings, prepared: Prepared, fabric: Fabric) -> Batches:
    """This device's share of the rows; whole rows where the context is without end."""
    return Batches(
        Rows.open(prepared.prefix, scored=settings.scored),
        batch=settings.batch,
        context=0 if settings.chunk else settings.context,
        seed=settings.seed,
        held_out=settings.held_out,
        device_index=fabric.global_rank,
        devices=fabric.world_size,
    )


def steps_of(settings: TuneSettings, batches: Batches) -> int:
    """How many steps the training has: as given, or as the epochs take."""
    if not settings.epochs:
        return settings.steps
    return max(1, math.ceil(settings.epochs * batches.batches_per_epoch / settings.accumulate))


def attached(order: Order, method: Method, checkpoint: Checkpoint, device: torch.device) -> Network:
    """The base with what the method trains, the same at every start of this job."""
    settings = order.settings
    network = Network.from_checkpoint(checkpoint, matrices=matrices_of(settings, device))
    network.checkpointing = settings.checkpointing
    if settings.quantization != "none":
        from rwkv_rag.tuning.quantized import quantize

        quantize(network, settings.quantization, device)  # matrix by matrix: it never holds all
    path = order.folder / FIXED
    kept = load_file(path) if path.exists() else None
    method.attach(network, settings, kept)
    if kept is None and (fixed := method.fixed(network)):
        part = _part(path)
        save_file(fixed, part)
        os.replace(part, path)
    return network


def trainer_settings(settings: TuneSettings, folder: Path) -> TrainerSettings:
    """The part of the settings that the loop needs; the rates are filled in by now."""
    return TrainerSettings(
        folder,
        settings.steps,
        lr=settings.lr or 0.0,
        lr_final=settings.lr_final,
        schedule=settings.schedule,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        clip=settings.clip,
        save_every_s=settings.save_every_s,
    )


def measured_before(
    folder: Path, held_out: Callable[[], float | None], *, fresh: bool
) -> float | None:
    """The held-out loss before training: measured at the start, remembered afterwards."""
    path = folder / BEFORE
    if fresh and not path.exists():
        value = held_out()
        if value is not None:  # else it was stopped, or there are no rows to measure on
            _write(path, value)
        return value
    try:
        kept: float | None = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return kept


def manifest(
    settings: TuneSettings, method: Method, prepared: Prepared, metrics: list[dict[str, Any]]
) -> Tuned:
    """What is said of the result; the base and the held-out losses are the caller's."""
    last = [record["loss"] for record in metrics[-LAST:]]
    adapter = method.kind == "adapter"
    return Tuned(
        name=settings.name,
        kind=method.kind,
        base="",
        base_name="",
        method=settings.method,
        rank=settings.rank if adapter else 0,
        alpha=float(settings.alpha or settings.rank) if adapter else 0.0,
        parts=settings.parts if adapter else (),
        data=prepared.sha256,
        steps=settings.steps,
        tokens=sum(record["tokens"] for record in metrics),
        loss=sum(last) / len(last) if last else None,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def tuned_model_at(
    order: Order, tuned: Tuned, tensors: dict[str, torch.Tensor], checkpoint: Checkpoint
) -> Tuned:
    """Store the result, whole or not at all. Raises AlreadyExists.

    A job that was killed right after this finds its own result there, which is as good.
    """
    try:
        there = Tuned.read(order.store.path(tuned.name))
    except NotFound:
        there = None
    if there is not None and replace(there, created="") == replace(tuned, created=""):
        return there
    with storing(order.store, tuned) as path:
        if tuned.kind == "model":
            write_model(path, checkpoint, tensors, vocabulary=order.base.vocabulary)
        else:
            save_file(tensors, path)
    return tuned


def _write(path: Path, value: Any) -> None:
    part = _part(path)
    part.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    os.replace(part, path)


def _part(path: Path) -> Path:
    """Where `path` is written first; every process of a job on several devices has its own."""
    return path.with_suffix(f".{os.getpid()}.part")
