"""`rwkv-rag doctor`: looks at all that must be right, and says what to do where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rwkv_rag import i18n
from rwkv_rag.cli.options import Connect, Home, Json, Key, Model
from rwkv_rag.cli.screen import Screen, printable
from rwkv_rag.cli.up import Config
from rwkv_rag.i18n import N_, _

if TYPE_CHECKING:
    from rwkv_rag.config.effective import Effective
    from rwkv_rag.diagnosis.finding import Finding

STYLES = {N_("ok"): "green", N_("warn"): "yellow", N_("fail"): "bold red"}
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

    screen, found = Screen(), []

    def load() -> Effective:
        return effective.load(
            file=file,
            home=home,
            model=model,
            connect=connect,
            key=key,
            language=i18n.language(),
        )

    for finding in findings(load):
        found.append(finding)
        if not json:
            _show(screen, finding)
    counts = {state: sum(each.state == state for each in found) for state in STYLES}
    if json:
        screen.json([_record(finding) for finding in found])
    else:
        screen.say("{ok} fine, {warn} to look at, {fail} to mend", style="bold", **counts)
    raise typer.Exit(FAILED if counts["fail"] else 0)


def _show(screen: Screen, finding: Finding) -> None:
    from rich.cells import set_cell_size
    from rich.text import Text

    line = Text(set_cell_size(_(finding.state), 6), style=STYLES[finding.state])
    found = f"{set_cell_size(_(finding.about), 11)}{printable(_(finding.text, **finding.values))}"
    screen.out.print(line.append(found, style="default"))
    if finding.advice:
        screen.out.print(" " * 17 + "→ " + printable(_(finding.advice, **finding.values)))
    for row in finding.table if finding.state != "fail" else ():
        cells = (set_cell_size(_(cell), 10) for cell in row)
        screen.out.print(" " * 17 + "".join(cells).rstrip(), style="dim")


def _record(finding: Finding) -> dict[str, Any]:
    record: dict[str, Any] = {
        "about": finding.about,
        "state": finding.state,
        "said": _(finding.text, **finding.values),
    }
    if finding.advice:
        record["do"] = _(finding.advice, **finding.values)
    if finding.table:
        headings, *rows = finding.table
        record["table"] = [dict(zip(headings, row, strict=True)) for row in rows]
    return record
