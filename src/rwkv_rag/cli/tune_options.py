"""The options that say how to fine-tune: one for each setting, made from one table.

`tune start` and `tune estimate` take the same ones. Knows no limits: the tuner checks the values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from rwkv_rag.types import TuneSettings


class Method(str, Enum):
    """What trains."""

    state = "state"
    lora = "lora"
    pissa = "pissa"
    miss = "miss"
    full = "full"


HELP: dict[str, str] = {
    "scored": "What training learns: answers, or all (every token).",
    "skip_bad": "Leave bad lines out instead of stopping.",
    "steps": "Optimiser steps.",
    "epochs": "Passes over the rows, instead of steps.",
    "batch": "Rows a step and device.",
    "accumulate": "Batches that make one step.",
    "context": "Tokens of a row that are read; longer rows are cut.",
    "chunk": "Read rows of any length in segments of so many tokens, carrying the state over.",
    "lr": "First learning rate (default: the method's).",
    "lr_final": "Last learning rate.",
    "schedule": "How the learning rate falls: cosine or wsd.",
    "warmup": "Steps over which the learning rate rises.",
    "weight_decay": "How much large weights are pulled towards zero.",
    "clip": "Largest gradient norm; 0 does not clip.",
    "rank": "Rank of adapters.",
    "alpha": "Scale of adapters (default: the rank).",
    "parts": "What adapters reach: att, ffn, low_rank, separated by commas.",
    "held_out": "Share of the rows that is measured and never trained on.",
    "precision": "auto, bf16 or fp32.",
    "quantization": "Hold the base in int8 or nf4 (needs a GPU).",
    "checkpointing": "Compute layers again instead of keeping them: less memory, more time.",
    "device": "auto, cpu or cuda.",
    "devices": "Devices on each machine.",
    "nodes": "Machines.",
    "strategy": "How devices share the work: auto, ddp, fsdp or deepspeed_stage_1 to 3.",
    "seed": "Seed of shuffling and of what adapters start from.",
    "save_every_s": "Seconds between checkpoints.",
    "wandb": "Weights & Biases: off, offline or online.",
    "wandb_project": "Project of Weights & Biases.",
}
Command = Callable[..., None]


def with_settings(command: Callable[..., None]) -> Command:
    """Give `command` the options of a fine-tuning; it gets them as one `TuneSettings`."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values()
           if p.name != "settings"]  # fmt: skip
    ours = [*_fixed(), *map(_option, HELP)]

    @wraps(command)
    def called(**values: Any) -> None:
        given = {each.name: values.pop(each.name) for each in ours}
        command(settings=_settings(given), **values)

    context, *rest = own
    kept = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (context, *ours, *rest)]
    vars(called).pop("__wrapped__")  # typer would look through it
    called.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in kept}
    return called


def _fixed() -> list[inspect.Parameter]:
    method = Annotated[Method, typer.Argument(help="What trains: state, lora, pissa, miss, full.")]
    data = Annotated[Path, typer.Option(help="Rows to train on: .jsonl, or the .bin of a pair.")]
    name = Annotated[str, typer.Option(help="What the result is called (default: DATA-METHOD).")]
    return [
        _parameter("method", method, inspect.Parameter.empty),
        _parameter("data", data, inspect.Parameter.empty),
        _parameter("name", name, ""),
    ]


def _option(name: str) -> inspect.Parameter:
    """The option of a setting; it has the setting's default."""
    default = next(field.default for field in fields(TuneSettings) if field.name == name)
    kind: Any = float | None if default is None else type(default)
    if isinstance(default, tuple):
        kind, default = str, ",".join(default)
    flag = "--" + name.removesuffix("_s").replace("_", "-")
    return _parameter(name, Annotated[kind, typer.Option(flag, help=HELP[name])], default)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _settings(given: dict[str, Any]) -> TuneSettings:
    method, data, parts = given["method"].value, given["data"], given["parts"]
    name = given["name"] or f"{data.name.split('.')[0]}-{method}"
    chosen = tuple(part.strip() for part in parts.split(",") if part.strip())
    return TuneSettings(**{**given, "method": method, "name": name, "parts": chosen})
