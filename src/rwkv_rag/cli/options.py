"""The options several commands share, and the values a command gets for them. Knows no command.

`with_session` gives a command a `Session` in place of the options that say where the data lies and
which services and model are used; `with_settings` gives it the settings of a fine-tuning.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwkv_rag import config
from rwkv_rag.cli.screen import Screen
from rwkv_rag.i18n import language
from rwkv_rag.types import TuneSettings

if TYPE_CHECKING:
    from rwkv_rag.client import Client
    from rwkv_rag.config.effective import Effective

Kb = Annotated[str, typer.Option("--kb", help="Knowledge base.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")]
TopK = Annotated[
    int | None, typer.Option("--top-k", min=1, max=100, help="How many passages to retrieve.")
]
ChunkSize = Annotated[int | None, typer.Option(help="Characters per passage (a new base: 400).")]
ChunkOverlap = Annotated[
    int | None,
    typer.Option(help="Characters two neighbouring passages share (a new base: 60)."),
]

DEFAULT_KB = "default"
SERVICES = ("connect", "key")

Command = Callable[..., Any]
_SHARED: dict[str, Any] = {
    "model": typer.Option(
        help="RWKV checkpoint (.safetensors or .pth) that writes the answers.",
    ),
    "tuned": typer.Option(help="Tuned state, adapter or model (by name) that writes free answers."),
    "connect": typer.Option(
        metavar="ADDRESS|off",
        help="Services to use (default: those that run on the data directory, if any).",
    ),
    "key": typer.Option(help="Key file for services on another machine (RWKV_RAG_KEY)."),
    "file": typer.Option(
        "--config", help="ragq.yml to use (default: ./ragq.yml, then HOME/ragq.yml)."
    ),
    "home": typer.Option(help="Directory that holds all data (default: RWKV_RAG_HOME)."),
}
_PATHS = ("home", "key", "file")


class Session:
    """What a command works with: its options as given, the settings they make, and the screen."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.screen = Screen()

    @cached_property
    def settings(self) -> config.Settings:
        """The settings, from the options, the environment and `ragq.yml`."""
        return config.load(language=language(), **self.given)

    def effective(self) -> Effective:
        """The settings with the whole `ragq.yml`, read anew by every call."""
        from rwkv_rag.config import effective

        return effective.load(language=language(), **self.given)

    def client(self, *, writes: bool = False) -> Client:
        """The objects of the home, to be closed: of running services, or of this process.

        `writes`: note where a model is loaded for the command in spite of running services.
        """
        from rwkv_rag import app

        client = app.open_client(self.settings)
        if writes and client.writes_here:
            self.screen.note(
                "the running services do not have the model {model}; it is loaded here",
                model=self.settings.model,
            )
        return client


def with_session(*names: str, **help_texts: str) -> Callable[[Command], Command]:
    """Give a command `--home` and the options `names`; it gets them as its first argument `here`.

    `help_texts` names options whose help says something else for this command.
    """

    def decorate(command: Command) -> Command:
        options = [_shared(name, help_texts.get(name)) for name in (*names, *help_texts, "home")]
        return _bundled(command, "here", options, lambda given: Session(**given))

    return decorate


def _shared(name: str, help: str | None) -> inspect.Parameter:
    option = typer.Option(help=help) if help else _SHARED[name]
    kind = Path if name in _PATHS else str
    return _parameter(name, Annotated[kind | None, option], None)


def _bundled(
    command: Command,
    name: str,
    options: list[inspect.Parameter],
    make: Callable[[dict[str, Any]], object],
    *,
    first: bool = False,
) -> Command:
    """`command` with `options` instead of its parameter `name`, which `make` makes of their values.

    They come `first` in its help, or last.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in signature.parameters.values()
        if each.name != name
    ]

    @wraps(command)
    def called(**values: Any) -> Any:
        given = {each.name: values.pop(each.name) for each in options}
        return command(**{name: make(given)}, **values)

    vars(called).pop("__wrapped__")  # typer would look through it
    called.__signature__ = inspect.Signature([*options, *own] if first else [*own, *options])  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in (*own, *options)}
    return called


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


class Method(str, Enum):
    """What trains."""

    state = "state"
    lora = "lora"
    pissa = "pissa"
    miss = "miss"
    full = "full"


TUNING: Mapping[str, str] = {
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
"""The settings of a fine-tuning that have a default. The tuner checks their values."""


def with_settings(command: Command) -> Command:
    """Give `command` the options of a fine-tuning; it gets them as its argument `settings`."""
    method = Annotated[Method, typer.Argument(help="What trains: state, lora, pissa, miss, full.")]
    data = Annotated[Path, typer.Option(help="Rows to train on: .jsonl, or the .bin of a pair.")]
    name = Annotated[str, typer.Option(help="What the result is called (default: DATA-METHOD).")]
    options = [
        _parameter("method", method, inspect.Parameter.empty),
        _parameter("data", data, inspect.Parameter.empty),
        _parameter("name", name, ""),
        *map(_setting, TUNING),
    ]
    return _bundled(command, "settings", options, _settings, first=True)


def _setting(name: str) -> inspect.Parameter:
    """The option of a setting; it has the setting's default."""
    default = next(field.default for field in fields(TuneSettings) if field.name == name)
    kind: Any = float | None if default is None else type(default)
    if isinstance(default, tuple):
        kind, default = str, ",".join(default)
    flag = "--" + name.removesuffix("_s").replace("_", "-")
    return _parameter(name, Annotated[kind, typer.Option(flag, help=TUNING[name])], default)


def _settings(given: dict[str, Any]) -> TuneSettings:
    method, data, parts = given["method"].value, given["data"], given["parts"]
    name = given["name"] or f"{data.name.split('.')[0]}-{method}"
    chosen = tuple(part.strip() for part in parts.split(",") if part.strip())
    return TuneSettings(**{**given, "method": method, "name": name, "parts": chosen})
