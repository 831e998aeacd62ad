"""The options several commands share, and how they become `Settings`. Knows no command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rwkv_rag import config, i18n
from rwkv_rag.cli.screen import Screen

if TYPE_CHECKING:
    from rwkv_rag.app import Client

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
Connect = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS|off",
        help="Services to use (default: those that run on the data directory, if any).",
    ),
]
Key = Annotated[
    Path | None, typer.Option(help="Key file for services on another machine (RWKV_RAG_KEY).")
]
TopK = Annotated[
    int | None, typer.Option("--top-k", min=1, max=100, help="How many passages to retrieve.")
]

DEFAULT_KB = "default"


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with: its settings and its screen."""

    settings: config.Settings
    screen: Screen

    def parts(self, *, writes: bool = False) -> Client:
        """What works on the home, to be closed: running services, or all in this process.

        Who `writes` is told where a model is loaded for it in spite of running services.
        """
        from rwkv_rag import app

        parts = app.open_client(self.settings)
        if writes and parts.writes_here:
            self.screen.note(
                "the running services do not have the model {model}; it is loaded here",
                model=self.settings.model,
            )
        return parts


def session(
    ctx: typer.Context,
    home: Path | None,
    model: str | None = None,
    tuned: str | None = None,
    *,
    connect: str | None = None,
    key: Path | None = None,
) -> Session:
    """The session of one command; `ctx.obj` is the language that `--lang` chose, if it did."""
    settings = config.load(
        home=home,
        model=model,
        tuned=tuned,
        language=ctx.find_root().obj,
        connect=connect,
        key=key,
    )
    i18n.set_language(settings.language)
    return Session(settings, Screen())
