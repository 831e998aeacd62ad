"""Reference marks such as [2] in streamed text: found, normalised, stripped if unsupported.

Knows nothing of passages; whether a mark is good is asked of the function given.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

Supports = Callable[[str, int], bool]
"""Whether the statement before a mark is borne out by passage number n (from 1)."""

_MARK = re.compile(r"( ?)[\[［【〔]\s*(\d{1,3}(?:\s*[,，、;；]\s*\d{1,3})*)\s*[\]］】〕]")
_UNFINISHED = re.compile(r" ?(?:[\[［【〔][\d\s,，、;；]{0,40})?$")
_MARKS_AT_END = re.compile(r"(?:\s*\[\d+\])+\s*$")
_NUMBER = re.compile(r"\d+")
_STATEMENT_START = re.compile(r"[。！？；\n]|[.!?]\s")


@dataclass(slots=True)
class MarkFilter:
    """Text in, text out, with every mark as [n] and no mark that `supports` refuses.

    What may be the beginning of a mark is held back until it is one or is not, so that a reader
    never
    sees a reference that disappears.
    """

    supports: Supports
    text: str = ""
    _held: str = field(default="", repr=False)

    def feed(self, piece: str) -> str:
        """The text that is now certain."""
        self._held += piece
        out = self._settle()
        unfinished = _UNFINISHED.search(self._held)
        cut = unfinished.start() if unfinished else len(self._held)
        out += self._emit(self._held[:cut])
        self._held = self._held[cut:]
        return out

    def finish(self) -> str:
        """What was held back and turned out to be no mark."""
        out = self._settle() + self._emit(self._held)
        self._held = ""
        return out

    def _settle(self) -> str:
        out = ""
        while match := _MARK.search(self._held):
            out += self._emit(self._held[: match.start()])
            kept = self._checked(match[2])
            out += self._emit(match[1] + kept if kept else "")
            self._held = self._held[match.end() :]
        return out

    def _checked(self, numbers: str) -> str:
        statement = last_statement(self.text)
        wanted = dict.fromkeys(int(number) for number in _NUMBER.findall(numbers))
        return "".join(f"[{n}]" for n in wanted if self.supports(statement, n))

    def _emit(self, piece: str) -> str:
        self.text += piece
        return piece


def last_statement(text: str) -> str:
    """The sentence a mark at the end of `text` belongs to, without the marks already there."""
    text = _MARKS_AT_END.sub("", text)
    body = text.rstrip().rstrip("。！？；.!?")
    starts = [match.end() for match in _STATEMENT_START.finditer(body)]
    return text[starts[-1] if starts else 0 :].strip()
