"""`rwkv-rag eval` and `rwkv-rag bench`: how good and how fast it is here. Knows no metric."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from rwkv_rag.cli.options import Json, Session, with_session
from rwkv_rag.cli.screen import Screen
from rwkv_rag.config import FAKE
from rwkv_rag.errors import InputError
from rwkv_rag.i18n import N_, _

STAGES = (N_("index"), N_("search"), N_("answer"))


class Mode(str, Enum):
    """Where the passages come from."""

    rag = "rag"
    gold = "gold"


class Pool(str, Enum):
    """Which passages are searched together."""

    all = "all"
    source = "source"


@with_session("model", "tuned")
def evaluate(
    here: Session,
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
    json: Json = False,
) -> None:
    """Measure retrieval and answers over a file of questions."""
    from rwkv_rag import app
    from rwkv_rag.evaluation import dataset, report

    titles = {stage: _(stage) for stage in STAGES}
    local = replace(here.settings, connect=app.OFF)
    with here.screen.progress("index") as bar, app.open_client(local) as client:
        measured = report.evaluate(
            dataset.read(file, limit),
            mode=mode.value,
            pool=pool.value,
            answers="free" if here.settings.tuned else "strict",
            answerer=client.answerer(),
            open_knowledge=lambda: app.temporary_knowledge(here.settings),
            progress=lambda at: bar.show(at.done, at.total, titles[at.stage]),
        )
    if json:
        return here.screen.json(measured)
    _show(here.screen, measured)


@with_session("model")
def bench(here: Session, json: Json = False) -> None:
    """Measure the speed of a model on this machine."""
    from rwkv_rag import models
    from rwkv_rag.rwkv.measure import measure

    if here.settings.model == FAKE:
        raise InputError("the stand-ins have no speed to measure; give --model FILE")
    with here.screen.progress("measuring") as bar:
        file = models.base_files(here.settings.model).model
        report = measure(file, lambda stage: bar.show(0, None, stage))
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
