"""Where sentences and clauses of a Chinese or English text begin and end. Knows no meaning.

All results are half-open character spans of the text given, without surrounding white space;
nothing
but white space lies between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rwkv_rag.rag.language import HAN

Span = tuple[int, int]

MAX_SENTENCE = 300
"""Longer sentences are cut at a clause border: some texts have no full stops at all."""

_CLOSERS = r"[\"'”’」』)）\]】》>]*"
_BORDER = re.compile(
    rf"[。！？；｡]+{_CLOSERS}|[.!?]+{_CLOSERS}(?=\s|$)|[!?]+{_CLOSERS}(?=[{HAN}])|\n"
)
_CLAUSE = re.compile(rf"[，；：—]+|[,;:](?=\s|$|[{HAN}])|(?<=[{HAN}])[,;:]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"“])(?:[A-Za-z]|(?:[A-Za-z]\.)+[A-Za-z]|"
    r"mrs?|ms|dr|prof|st|jr|sr|vs|etc|nos?|figs?|vol|ch|sec|art|pp?|eds?|approx|ca|cf|al|inc|ltd|co|corp|"
    r"dept|est|gen|col|lt|sgt|capt|rev|hon|gov|sen|rep|mt|ft|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.$",
    re.IGNORECASE,
)
_NEXT = re.compile(r"[ \t]*\n?(\S?)")
_LIST_NUMBER = re.compile(r"\s*\(?(?:\d{1,3}|[A-Za-z])\.$")
_BLOCK_START = re.compile(
    r"\s*(?:#{1,6}\s|[-*+•·]\s|>|\||```|\(?\d{1,3}[.)、．]|[一二三四五六七八九十]+、|第.{1,4}[条條章节節]|\n|$)"
)
_WRAP_HAN, _WRAP_LATIN = (
    18,
    40,
)  # characters a line has at least when the page, not the author, broke it


def sentences(text: str, limit: int = MAX_SENTENCE) -> list[Span]:
    """The sentences of `text`; decimal numbers, abbreviations and wrapped lines are left whole."""
    spans: list[Span] = []
    start = 0
    for match in _BORDER.finditer(text):
        if _is_border(text, start, match):
            spans.extend(_pieces(text, start, match.end(), limit))
            start = match.end()
    spans.extend(_pieces(text, start, len(text), limit))
    return spans


def clauses(text: str, span: Span) -> list[Span]:
    """The clauses of one sentence: what commas, colons, semicolons and dashes separate."""
    start, end = span
    cuts = [match.end() for match in _CLAUSE.finditer(text, start, end)]
    spans = (_trim(text, a, b) for a, b in zip([start, *cuts], [*cuts, end], strict=True))
    return [found for found in spans if found[0] < found[1]]


def _is_border(text: str, start: int, match: re.Match[str]) -> bool:
    if match[0] == "\n":
        return not _is_wrapped_line(text, match.start())
    if match[0][0] not in ".!?":
        return True
    before = text[max(start, match.end() - 40) : match.end()]
    if match[0] == "." and (_ABBREVIATION.search(before) or _LIST_NUMBER.match(before)):
        return False
    following = _NEXT.match(text, match.end())
    return not (following and following[1].islower())


def _is_wrapped_line(text: str, newline: int) -> bool:
    """Whether the sentence goes on after this line break, as in text taken from PDF pages."""
    line = text[text.rfind("\n", 0, newline) + 1 : newline].strip()
    if not line or line[0] in "#|>" or _BLOCK_START.match(text[newline + 1 : newline + 40]):
        return False
    han = re.search(f"[{HAN}]", line) is not None
    return len(line) >= (_WRAP_HAN if han else _WRAP_LATIN)


def _pieces(text: str, start: int, end: int, limit: int) -> Iterator[Span]:
    start, end = _trim(text, start, end)
    while end - start > limit:
        cuts = [match.end() for match in _CLAUSE.finditer(text, start, start + limit)]
        cut = cuts[-1] if cuts else _space_before(text, start, start + limit)
        yield _trim(text, start, cut)
        start, end = _trim(text, cut, end)
    if start < end:
        yield start, end


def _space_before(text: str, start: int, end: int) -> int:
    """Without a clause border the cut falls between words, and without words anywhere."""
    space = text.rfind(" ", start, end)
    return space if space > start else end


def _trim(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, max(start, end - (len(piece) - len(piece.rstrip())))
