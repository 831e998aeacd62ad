"""The settings of a fine-tuning: what can be run, and how they are written down. Knows no torch.

Every check names the field and its value on one line; what depends on the base, the data or the
machine is checked where those are known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from rwkv_rag.config import joins_machines
from rwkv_rag.errors import CorruptData, InputError
from rwkv_rag.types import TuneMethod, TuneSettings

METHODS: tuple[str, ...] = get_args(TuneMethod)
PARTS = ("att", "ffn", "low_rank")
STRATEGIES = (
    *("auto", "ddp", "fsdp"),
    *("deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_3"),
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "method": METHODS,
    "scored": ("answers", "all"),
    "schedule": ("cosine", "wsd"),
    "precision": ("auto", "bf16", "fp32"),
    "quantization": ("none", "int8", "nf4"),
    "strategy": STRATEGIES,
    "wandb": ("off", "offline", "online"),
}
_WHOLE: dict[str, tuple[int, int]] = {
    "steps": (1, 10_000_000),
    "batch": (1, 4096),
    "accumulate": (1, 4096),
    "context": (2, 1 << 20),
    "chunk": (0, 1 << 20),
    "warmup": (0, 1_000_000),
    "rank": (1, 1024),
    "devices": (1, 1024),
    "nodes": (1, 1024),
    "seed": (0, 2**31 - 1),
}
_REAL: dict[str, tuple[float, float]] = {
    "epochs": (0, 10_000),
    "weight_decay": (0, 10),
    "clip": (0, 1000),
    "held_out": (0, 0.9),
    "save_every_s": (0, 86_400),
}
_RATES = ("lr", "lr_final", "alpha")
_LARGEST_RATE = 1000


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """Where a base model lies: its name for people, its checkpoint and its vocabulary."""

    name: str
    model: Path
    vocabulary: Path


def check(settings: TuneSettings) -> None:
    """Raise InputError for the first field that cannot be used; touches no file."""
    for name, choices in _CHOICES.items():
        if getattr(settings, name) not in choices:
            raise InputError(
                "{name} is {settings!r}; choose one of {choices}",
                name=name,
                settings=getattr(settings, name),
                choices=", ".join(choices),
            )
    for name, (low, high) in _WHOLE.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or not low <= value <= high:
            raise InputError(
                "{name} is {value!r}; give a whole number from {low} to {high}",
                name=name,
                value=value,
                low=low,
                high=high,
            )
    for name, (least, most) in _REAL.items():
        value = getattr(settings, name)
        if not _number(value) or not least <= value <= most:
            raise InputError(
                "{name} is {value!r}; give a number from {least} to {most}",
                name=name,
                value=value,
                least=least,
                most=most,
            )
    for name in _RATES:
        value = getattr(settings, name)
        if name == "lr_final" and value == 0:  # the usual end of a cosine
            continue
        if value is not None and not (_number(value) and 0 < value <= _LARGEST_RATE):
            raise InputError(
                "{name} is {value!r}; give a number above 0 and up to {largest_rate}",
                name=name,
                value=value,
                largest_rate=_LARGEST_RATE,
            )
    _check_together(settings)


def check_nodes(settings: TuneSettings) -> None:
    """Raise InputError for several machines that could not find each other: it would wait."""
    if settings.nodes > 1 and not joins_machines():
        raise InputError(
            "nodes is {nodes}, but MASTER_ADDR, MASTER_PORT and NODE_RANK=0 are not set "
            "here; set them so that the machines find each other, or set nodes to 1",
            nodes=settings.nodes,
        )


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _check_together(settings: TuneSettings) -> None:
    unknown = [part for part in settings.parts if part not in PARTS]
    if unknown or not settings.parts:
        named = ", ".join(unknown) or "empty"
        raise InputError(
            "parts is {named}; choose from {parts}", named=named, parts=", ".join(PARTS)
        )
    if settings.chunk == 1:
        raise InputError("chunk is 1; give 0 to cut rows, or the length of a segment from 2")
    if settings.chunk and settings.method == "state":
        raise InputError(
            "chunk is {chunk}, but only the first segment of a row reaches the state it "
            "begins with, which the method state trains; set chunk to 0 or choose "
            "another method",
            chunk=settings.chunk,
        )
    kind = settings.device.split(":")[0]
    if kind not in ("auto", "cpu", "cuda"):
        raise InputError("device is {device!r}; choose auto, cpu or cuda", device=settings.device)
    if settings.devices * settings.nodes == 1 and settings.strategy != "auto":
        raise InputError(
            "strategy is {strategy!r} with one device; raise devices or choose auto",
            strategy=settings.strategy,
        )
    if settings.quantization != "none" and settings.method == "full":
        raise InputError(
            "quantization is {quantization!r}, but the method full trains the weights "
            "themselves; choose lora or state, or quantization none",
            quantization=settings.quantization,
        )
    if settings.precision == "bf16" and settings.method == "full":
        raise InputError(
            "precision is 'bf16', too coarse for the small changes that the method full makes to "
            "the weights themselves; choose auto or fp32"
        )


def with_rates(
    settings: TuneSettings, default_rates: Callable[[], tuple[float, float]]
) -> TuneSettings:
    """`settings` with the rates filled in that were left to the method.

    Raises InputError where the last rate would be above the first.
    """
    first, last = settings.lr, settings.lr_final
    if first is None or last is None:
        usual_first, usual_last = default_rates()
        if last is None:
            last = usual_last if first is None else first * usual_last / usual_first
        first = usual_first if first is None else first
    if last > first:
        raise InputError(
            "lr_final is {last:g}, above lr ({first:g}); give a smaller one", last=last, first=first
        )
    return replace(settings, lr=first, lr_final=last)


def to_json(settings: TuneSettings) -> str:
    """`settings` as one JSON object."""
    return json.dumps({**asdict(settings), "data": str(settings.data)}, ensure_ascii=False)


def from_json(text: str, *, source: str = "the settings of this job") -> TuneSettings:
    """The settings `to_json` wrote; unknown fields of other versions are left out.

    Raises CorruptData naming `source`.
    """
    known = {field.name for field in fields(TuneSettings)}
    try:
        values: dict[str, Any] = json.loads(text)
        kept = {name: value for name, value in values.items() if name in known}
        return TuneSettings(
            **{**kept, "data": Path(kept["data"]), "parts": tuple(kept.get("parts", ()))}
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptData(
            "{source} cannot be read ({reason}); start a new job", source=source, reason=error
        ) from error
