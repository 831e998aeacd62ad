"""Finds stop strings in text that arrives in pieces. Knows strings; nothing of tokens or models.

A stop string such as "\\n\\nUser:" is spread over several tokens, so its first characters must not
be shown before it is certain that they are not its beginning: they are held back.
"""

from __future__ import annotations

from collections.abc import Sequence

from rwkv_rag.errors import InputError


class StopMatcher:
    """Cuts a stream of text where the first of the stop strings begins.

    Whatever the pieces, the text let through is that of cutting the whole text at the leftmost
    occurrence of any stop string.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises InputError for an empty stop string, which would stop everywhere."""
        if isinstance(stops, str) or not all(stops):
            raise InputError(
                "stop strings must be a list of non-empty texts, not {stops!r}", stops=stops
            )
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Add text; returns what has become certain. Once `stopped`, everything more is dropped."""
        if self.stopped:
            return ""
        self._held += text
        cut = self._first_stop()
        pending = self._first_pending()
        if cut is not None and cut <= pending:
            self.stopped = True
            return self._release(cut)
        return self._release(pending)

    def flush(self) -> str:
        """The text has ended: returns what was held back, cut at a stop string that is complete."""
        cut = self._first_stop()
        self.stopped = self.stopped or cut is not None
        return self._release(len(self._held) if cut is None else cut)

    def _release(self, length: int) -> str:
        certain = self._held[:length]
        self._held = "" if self.stopped else self._held[length:]
        return certain

    def _first_stop(self) -> int | None:
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        return min(found, default=None)

    def _first_pending(self) -> int:
        """Where the text from there to the end may still grow into a stop string; else the end."""
        length = len(self._held)
        for start in range(max(0, length - self._longest + 1), length):
            rest = self._held[start:]
            if any(stop.startswith(rest) for stop in self._stops):
                return start
        return length
