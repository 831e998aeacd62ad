"""`rwkv-rag doctor`: checks the machine and the data, and shows what to do about problems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.cells import set_cell_size
from rich.text import Text

from rwkv_rag.cli.options import SERVICES, Json, Session, with_session
from rwkv_rag.cli.screen import Screen, printable
from rwkv_rag.i18n import N_, _

if TYPE_CHECKING:
    from rwkv_rag.diagnosis.finding import Finding

STYLES = {N_("ok"): "green", N_("warn"): "yellow", N_("fail"): "bold red"}
FAILED = 1


@with_session("file", "model", *SERVICES)
def doctor(here: Session, json: Json = False) -> None:
    """Check this machine, what is installed, the settings and the stored data."""
    from rwkv_rag.diagnosis.checks import findings

    found = []
    for finding in findings(here.effective):
        found.append(finding)
        if not json:
            _show(here.screen, finding)
    counts = {state: sum(each.state == state for each in found) for state in STYLES}
    if json:
        here.screen.json([_record(finding) for finding in found])
    else:
        here.screen.say("{ok} fine, {warn} to look at, {fail} to mend", style="bold", **counts)
    raise typer.Exit(FAILED if counts["fail"] else 0)


def _show(screen: Screen, finding: Finding) -> None:
    line = Text(set_cell_size(_(finding.state), 6), style=STYLES[finding.state])
    line.append(set_cell_size(_(finding.about), 11), style="default")
    screen.out.print(line.append(printable(_(finding.text)), style="default"))
    if finding.remedy:
        screen.out.print(" " * 17 + "→ " + printable(_(finding.remedy)))
    for row in finding.table if finding.state != "fail" else ():
        cells = (set_cell_size(_(cell), 10) for cell in row)
        screen.out.print(" " * 17 + "".join(cells).rstrip(), style="dim")


def _record(finding: Finding) -> dict[str, Any]:
    record: dict[str, Any] = {
        "about": finding.about,
        "state": finding.state,
        "said": _(finding.text),
    }
    if finding.remedy:
        record["do"] = _(finding.remedy)
    if finding.table:
        headings, *rows = finding.table
        record["table"] = [dict(zip(headings, row, strict=True)) for row in rows]
    return record
