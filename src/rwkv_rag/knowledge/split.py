"""Documents to chunks by size and overlap in characters. Knows no model and no store.

A chunk ends at the strongest border that leaves it well filled: before a heading, after a
paragraph, a line, a sentence (。！？；.!?;), a clause, a word, and only then between two
characters. It never splits a character from its combining marks while that can be avoided.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import takewhile

from rwkv_rag.errors import InputError
from rwkv_rag.knowledge.headings import SEPARATOR, Section, sections
from rwkv_rag.types import Chunk, Document, Page

MIN_SIZE, MAX_SIZE = 16, 8000
FILLED = 0.5  # a chunk cut at a border is at least this full
FILLED_SECTION = 0.25  # a short section may stand alone, a tiny one joins the next

PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
LINE = re.compile(r"\n")
SENTENCE = re.compile(r"[。！？；…]+[”’」』）》\"']*|[.!?;]+[\"')\]”’]*(?=\s)")
CLAUSE = re.compile(r"[，、：]|[,:](?=\s)")
WORD = re.compile(r"[ \t\u3000]+")
JOINER = "\u200d"


def check_sizes(size: int, overlap: int) -> None:
    """Raises InputError naming the size that cannot be used."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise InputError(
            "chunk size {size} is not between {min_size} and {max_size} characters",
            size=size,
            min_size=MIN_SIZE,
            max_size=MAX_SIZE,
        )
    if not 0 <= overlap < size / 2:
        raise InputError(
            "chunk overlap {overlap} is not between 0 and half the chunk size ({size})",
            overlap=overlap,
            size=size,
        )


def split(document: Document, *, size: int, overlap: int) -> list[Chunk]:
    """Chunks in order; together they hold every character that is not white space."""
    check_sizes(size, overlap)
    borders = _Borders(document.text)
    chunks: list[Chunk] = []
    for start, end in _spans(document.text, borders, size, overlap):
        chunks.append(
            Chunk(
                id=_identity(document, start, end),
                document=document.name,
                index=len(chunks),
                start=start,
                end=end,
                text=document.text[start:end],
                page=_page(document.pages, start),
                heading=borders.heading(start, end),
            )
        )
    return chunks


def embedded_text(chunk: Chunk) -> str:
    """What is embedded and indexed of a chunk: the headings above it, then its text."""
    return f"{chunk.heading}\n{chunk.text}" if chunk.heading else chunk.text


def pages_of(pages: Sequence[Page], start: int, end: int) -> tuple[Page, ...]:
    """The pages that the characters `start:end` touch."""
    return tuple(page for page in pages if page.start < end and page.end > start)


class _Borders:
    """Where a text may be cut, strongest kind first, as sorted character positions."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sections: list[Section] = sections(text)
        self.section_starts = [section.start for section in self.sections]
        stops = [*self.section_starts[1:], len(text)]
        # A heading right above another heading belongs to what follows it.
        self.bare = [
            "\n" not in text[section.start : stop].strip() and bool(section.path)
            for section, stop in zip(self.sections, stops, strict=True)
        ]
        headed = zip(self.section_starts, [False, *self.bare], strict=False)
        self.kinds = [
            ([start for start, after_bare in headed if not after_bare], FILLED_SECTION),
            *(
                ([match.end() for match in pattern.finditer(text)], FILLED)
                for pattern in (PARAGRAPH, LINE, SENTENCE, CLAUSE, WORD)
            ),
        ]

    def cut(self, start: int, limit: int) -> int:
        """The best end for a chunk from `start` that must not pass `limit`."""
        for positions, filled in self.kinds:
            at = bisect_right(positions, limit) - 1
            if at >= 0 and positions[at] >= start + filled * (limit - start):
                return positions[at]
        return _whole_character(self.text, limit, start + (limit - start) // 2)

    def restart(self, cut: int, overlap: int) -> int:
        """Where the next chunk starts: at a sentence in the last `overlap` characters if any."""
        if not overlap or self._starts_section(cut):
            return cut
        section = self.section_starts[bisect_left(self.section_starts, cut) - 1]
        earliest = max(cut - overlap, section)
        for positions, _ in self.kinds[1:]:
            at = bisect_left(positions, earliest)
            if at < len(positions) and positions[at] < cut:
                return positions[at]
        at = earliest
        while at < cut and _joined(self.text[at - 1], self.text[at]):
            at += 1
        return at

    def heading(self, start: int, end: int) -> str:
        """The headings that stand above everything in `start:end` but headings alone."""
        first = bisect_right(self.section_starts, start) - 1
        last = bisect_left(self.section_starts, end)
        touched = range(first, last)
        full = [number for number in touched if not self.bare[number]] or touched
        paths = [self.sections[number].path for number in full]
        shared = takewhile(lambda level: len(set(level)) == 1, zip(*paths, strict=False))
        return SEPARATOR.join(level[0] for level in shared)

    def _starts_section(self, position: int) -> bool:
        at = bisect_left(self.section_starts, position)
        return self.section_starts[at : at + 1] == [position]


def _spans(text: str, borders: _Borders, size: int, overlap: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    at = _skip_space(text, 0)
    while at < len(text):
        cut = borders.cut(at, at + size) if len(text) - at > size else len(text)
        end = at + len(text[at:cut].rstrip())
        if not spans or end > spans[-1][1]:
            spans.append((at, end))
        if cut == len(text):
            break
        at = _skip_space(text, borders.restart(cut, overlap))
    return spans


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _whole_character(text: str, at: int, lowest: int) -> int:
    """The nearest position up to `at` that splits no character cluster; else `at` itself."""
    for position in range(at, max(lowest, 0), -1):
        if position >= len(text) or not _joined(text[position - 1], text[position]):
            return position
    return at


def _joined(left: str, right: str) -> bool:
    return (
        unicodedata.category(right).startswith("M")
        or JOINER in (left, right)
        or "\U0001f3fb" <= right <= "\U0001f3ff"  # skin tones
        or ("\U0001f1e6" <= left <= "\U0001f1ff" and "\U0001f1e6" <= right <= "\U0001f1ff")
    )


def _page(pages: Sequence[Page], start: int) -> int | None:
    return next((page.number for page in pages if page.start <= start < page.end), None)


def _identity(document: Document, start: int, end: int) -> str:
    """The same stretch of the same file keeps its id, so that kept citations stay valid."""
    key = f"{document.name}\0{document.sha256}\0{start}\0{end}"
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
