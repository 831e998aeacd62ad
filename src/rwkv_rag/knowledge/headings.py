"""Headings of Markdown and of Chinese and numbered prose. Knows no chunk.

A heading is a line of its own: `## Title`, `第三章 质保`, `三、质保`, `（二）换货`, `1.2 Warranty`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST = 48  # characters; a longer line that looks like a heading is prose
SEPARATOR = " > "
MARKDOWN = re.compile(r"(#{1,6})[ \t]+(\S.*?)[ \t]*#*")
FENCE = re.compile(r"\s{0,3}(```|~~~)")
NUMERALS = "一二三四五六七八九十百千零〇两"
# Levels order the kinds among themselves; Markdown's six come first.
CHINESE = (
    (re.compile(rf"第[{NUMERALS}\d]+[编篇部卷](\s.*|[^，。；]{{0,20}})"), 11),
    (re.compile(rf"第[{NUMERALS}\d]+[章回](\s.*|[^，。；]{{0,20}})"), 12),
    (re.compile(rf"第[{NUMERALS}\d]+节(\s.*|[^，。；]{{0,20}})"), 13),
    (re.compile(rf"[{NUMERALS}]+、\s*\S.*"), 14),
    (re.compile(rf"[（(][{NUMERALS}]+[）)]\s*\S.*"), 15),
)
NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,3}){1,4})\.?[ \t]+([^\d\s].*)")
PROSE_END = "。！？；，、,;.!?"


@dataclass(frozen=True, slots=True)
class Section:
    """From a heading's first character to the next heading; `path` includes its own heading."""

    start: int
    path: tuple[str, ...]


def sections(text: str) -> list[Section]:
    """All sections in order; the first starts at 0 and has an empty path unless a heading does."""
    found = [Section(0, ())]
    open_headings: list[tuple[int, str]] = []
    for start, level, title in _headings(text):
        while open_headings and open_headings[-1][0] >= level:
            open_headings.pop()
        open_headings.append((level, title))
        found.append(Section(start, tuple(title for _, title in open_headings)))
    return found[1:] if len(found) > 1 and found[1].start == 0 else found


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    start, fenced = 0, False
    for line in text.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
        elif not fenced and (heading := _heading(line)):
            yield start, *heading
        start += len(line) + 1


def _heading(line: str) -> tuple[int, str] | None:
    if match := MARKDOWN.fullmatch(line):
        return len(match[1]), match[2][: 2 * LONGEST]
    stripped = line.strip()
    if not 2 < len(stripped) <= LONGEST or stripped[-1] in PROSE_END:
        return None
    for pattern, level in CHINESE:
        if pattern.fullmatch(stripped):
            return level, stripped
    if match := NUMBERED.fullmatch(stripped):
        return 20 + match[1].count("."), stripped
    return None
