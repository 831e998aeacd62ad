"""What the terminal shows: text in the user's language, tables, JSON, progress. Knows no command.

Results go to stdout; progress, notes and errors to stderr, so that pipes get results only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rwkv_rag.i18n import _


class Screen:
    """Both output streams of a command. Templates are English; what is shown is translated."""

    def __init__(self) -> None:
        self.out = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)
        self.err = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)

    def say(self, template: str, *, style: str = "", **values: object) -> None:
        """One result line."""
        self.out.print(printable(_(template, **values)), style=style)

    def note(self, template: str, *, style: str = "dim", **values: object) -> None:
        """One line beside the results."""
        self.err.print(printable(_(template, **values)), style=style)

    def table(
        self, titles: Sequence[str], rows: Iterable[Sequence[object]], *, wrapped: str = ""
    ) -> None:
        """A table as a result; long cells of the column `wrapped` take several lines."""
        table = Table(box=None, header_style="dim")
        for title in titles:
            table.add_column(_(title), no_wrap=title != wrapped, overflow="fold")
        for row in rows:
            table.add_row(*(printable(str(cell)) for cell in row))
        self.out.print(table)

    def json(self, value: Any) -> None:
        """`value` as the only thing on stdout."""
        encoding = (sys.stdout.encoding or "").lower().replace("-", "")
        sys.stdout.write(json.dumps(value, ensure_ascii=encoding != "utf8", indent=2) + "\n")

    def confirm(self, template: str, **values: object) -> None:
        """Ask before something is deleted; ends the command where the answer is no."""
        if not typer.confirm(printable(_(template, **values)), err=True):
            self.note("nothing deleted")
            raise typer.Exit(1)

    @contextmanager
    def progress(self, template: str, total: int | None = None) -> Iterator[ProgressLine]:
        """A progress bar on stderr while the block runs; nothing where stderr is not a terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(
            *columns, console=self.err, transient=True, disable=not self.err.is_terminal
        ) as bar:
            yield ProgressLine(bar, bar.add_task(_(template), total=total))


class ProgressLine:
    """One line of a progress bar."""

    def __init__(self, bar: Progress, task: Any) -> None:
        self._bar = bar
        self._task = task

    def show(self, done: float, total: float | None = None, text: str = "") -> None:
        """Move to `done` of `total`; `text` replaces what stands before the bar."""
        changes: dict[str, Any] = {"completed": done}
        if total is not None:
            changes["total"] = total
        if text:
            changes["description"] = _short(printable(text))
        self._bar.update(self._task, **changes)


def printable(text: str) -> str:
    """One line without control characters: a document must not steer the reader's terminal."""
    return "".join(
        " " if char in "\r\n\t" else char for char in text if char.isprintable() or char in "\r\n\t"
    )


def printable_lines(text: str) -> str:
    """As `printable`, with the lines left as they are."""
    return "\n".join(map(printable, text.replace("\r\n", "\n").split("\n")))


def _short(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else "…" + text[1 - limit :]
