"""What the terminal shows: text in the user's language, JSON, progress bars. Knows no command.

Results go to stdout; progress, notes and errors to stderr, so that pipes get results only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rwkv_rag.errors import Message
from rwkv_rag.i18n import _


class Screen:
    """Both output streams of a command."""

    def __init__(self) -> None:
        self.out = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)
        self.err = Console(file=sys.stderr, highlight=False, markup=False, soft_wrap=True)

    def translate(self, message: str, **values: object) -> str:
        """`message` in the user's language, with `values` free of control characters in place."""
        shown = {
            name: printable(_(value) if isinstance(value, Message) else value)
            if isinstance(value, str | Message)
            else value
            for name, value in values.items()
        }
        return _(message, **shown)

    def say(self, message: str, *, style: str = "", **values: object) -> None:
        """One result line."""
        self.out.print(self.translate(message, **values), style=style)

    def note(self, message: str, *, style: str = "dim", **values: object) -> None:
        """One line beside the results."""
        self.err.print(self.translate(message, **values), style=style)

    def json(self, value: Any) -> None:
        """`value` as the only thing on stdout."""
        encoding = (sys.stdout.encoding or "").lower().replace("-", "")
        sys.stdout.write(json.dumps(value, ensure_ascii=encoding != "utf8", indent=2) + "\n")

    @contextmanager
    def progress(self, message: str, total: int | None = None) -> Iterator[ProgressLine]:
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
            yield ProgressLine(bar, bar.add_task(self.translate(message), total=total))


class ProgressLine:
    """One line of a progress bar."""

    def __init__(self, bar: Progress, task: Any) -> None:
        self._bar = bar
        self._task = task

    def show(self, done: float, total: float | None = None, message: str = "") -> None:
        """Move to `done` of `total`; `message` replaces the text before the bar."""
        changes: dict[str, Any] = {"completed": done}
        if total is not None:
            changes["total"] = total
        if message:
            changes["description"] = _short(printable(message))
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
