"""`rwkv-rag doctor`: looks at all that must be right, and says what to do where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rwkv_rag.cli.options import Connect, Home, Json, Key, Model
from rwkv_rag.cli.screen import Screen, printable
from rwkv_rag.cli.up import Config

if TYPE_CHECKING:
    from rwkv_rag.config.effective import Effective
    from rwkv_rag.diagnosis.finding import Finding

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
FAILED = 1


def doctor(
    ctx: typer.Context,
    json: Json = False,
    file: Config = None,
    model: Model = None,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Check this machine, what is installed, the settings and the stored data."""
    from rwkv_rag.config import effective
    from rwkv_rag.diagnosis.checks import findings

    language = ctx.find_root().obj
    screen = Screen(language)
    found = []

    def load() -> Effective:
        return effective.load(
            file=file, home=home, model=model, connect=connect, key=key, language=language
        )

    for finding in findings(load):
        found.append(finding)
        if not json:
            _show(screen, finding)
    counts = {state: sum(each.state == state for each in found) for state in STYLES}
    if json:
        screen.json([_record(screen, finding) for finding in found])
    else:
        screen.say("{ok} fine, {warn} to look at, {fail} to mend", style="bold", **counts)
    raise typer.Exit(FAILED if counts["fail"] else 0)


def _show(screen: Screen, finding: Finding) -> None:
    from rich.cells import set_cell_size
    from rich.text import Text

    from rwkv_rag.diagnosis import words

    state = screen.text(finding.state)
    about = words.term(finding.about, screen.language)
    said = printable(words.said(finding, screen.language))
    line = Text(set_cell_size(state, 6), style=STYLES[finding.state])
    screen.out.print(line.append(f"{set_cell_size(about, 11)}{said}", style="default"))
    if finding.mend:
        screen.out.print(" " * 17 + "→ " + printable(words.mend(finding, screen.language)))
    for row in finding.table if finding.state != "fail" else ():
        cells = (set_cell_size(words.term(cell, screen.language), 10) for cell in row)
        screen.out.print(" " * 17 + "".join(cells).rstrip(), style="dim")


def _record(screen: Screen, finding: Finding) -> dict[str, Any]:
    from rwkv_rag.diagnosis import words

    record: dict[str, Any] = {
        "about": finding.about,
        "state": finding.state,
        "said": words.said(finding, screen.language),
    }
    if finding.mend:
        record["do"] = words.mend(finding, screen.language)
    if finding.table:
        headings, *rows = finding.table
        record["table"] = [dict(zip(headings, row, strict=True)) for row in rows]
    return record
