"""The options several commands share, and how they become `Settings`. Knows no command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rwkv_rag import config
from rwkv_rag.cli.screen import Screen

Home = Annotated[
    Path | None,
    typer.Option(help="Directory that holds all data (default: RWKV_RAG_HOME)."),
]
Kb = Annotated[str, typer.Option("--kb", help="Knowledge base.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Model = Annotated[
    str | None,
    typer.Option(help="RWKV checkpoint (.safetensors or .pth) that writes the answers."),
]
Tuned = Annotated[
    str | None,
    typer.Option(help="Tuned state, adapter or model (by name) that writes free answers."),
]
TopK = Annotated[
    int, typer.Option("--top-k", min=1, max=100, help="How many passages to retrieve.")
]

DEFAULT_KB = "default"
DEFAULT_TOP_K = 5


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with: its settings and its screen."""

    settings: config.Settings
    screen: Screen


def session(
    ctx: typer.Context, home: Path | None, model: str | None = None, tuned: str | None = None
) -> Session:
    """The session of one command; `ctx.obj` is the language `run` found."""
    settings = config.load(home=home, model=model, tuned=tuned, language=ctx.find_root().obj)
    return Session(settings, Screen(settings.language))
