"""`rwkv-rag eval` and `rwkv-rag bench`: how good and how fast it is here. Knows no metric."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from rwkv_rag.cli.options import Home, Json, Model, Tuned, session
from rwkv_rag.cli.screen import Screen


class Mode(str, Enum):
    """Where the passages come from."""

    rag = "rag"
    gold = "gold"


class Pool(str, Enum):
    """Which passages are searched together."""

    all = "all"
    source = "source"


def evaluate(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="Questions, one JSON object a line (.jsonl or .jsonl.xz).")
    ],
    mode: Annotated[
        Mode, typer.Option(help="rag: search all passages; gold: hand the model the right one.")
    ] = Mode.rag,
    pool: Annotated[
        Pool, typer.Option(help="all: one base of all passages; source: one for each source.")
    ] = Pool.all,
    limit: Annotated[int | None, typer.Option(help="Only the first N questions.")] = None,
    model: Model = None,
    tuned: Tuned = None,
    json: Json = False,
    home: Home = None,
) -> None:
    """Measure retrieval and answers over a file of questions."""
    here = session(ctx, home, model, tuned)
    from rwkv_rag import app

    titles = {stage: here.screen.text(stage) for stage in ("index", "search", "answer")}
    with here.screen.progress("index") as bar:
        report = app.evaluate(
            here.settings,
            file,
            mode=mode.value,
            pool=pool.value,
            limit=limit,
            progress=lambda at: bar.show(at.done, at.total, titles[at.stage]),
        )
    if json:
        return here.screen.json(report)
    _show(here.screen, report)


def bench(
    ctx: typer.Context,
    model: Model = None,
    json: Json = False,
    home: Home = None,
) -> None:
    """Measure the speed of a model on this machine."""
    here = session(ctx, home, model)
    from rwkv_rag import app

    with here.screen.progress("measuring") as bar:
        report = app.measure(here.settings, lambda stage: bar.show(0, None, stage))
    if json:
        return here.screen.json(report)
    _show(here.screen, report)


def _show(screen: Screen, report: Any, indent: int = 0) -> None:
    """A nested report as indented lines."""
    for name, value in report.items():
        if isinstance(value, dict):
            screen.out.print(" " * indent + str(name), style="bold")
            _show(screen, value, indent + 2)
        else:
            shown = f"{value:,.4g}" if isinstance(value, float) else "–" if value is None else value
            screen.out.print(f"{' ' * indent}{name:<{28 - indent}} {shown}")
