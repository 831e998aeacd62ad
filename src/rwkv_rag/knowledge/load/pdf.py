"""PDF files with a text layer, page by page. Knows no OCR and no chunk.

A PDF stores printed lines, not sentences. Lines that run to the right margin are joined with their
successor (without a space between Chinese characters), so that words broken by the layout can be
found again. Page spans count characters of the joined text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

import pypdfium2

from rwkv_rag.errors import UnreadableDocument
from rwkv_rag.knowledge.load import Parsed
from rwkv_rag.types import Page

MAX_PAGES = 5000
FULL_LINE = 0.85  # of the page's widest line: a line this long was broken by the margin
SENTENCE_END = "。！？；.!?;:：…"
# pdfium marks a hyphen at a line's end with U+FFFE or U+0002.
SOFT_HYPHEN = re.compile("[\ufffe\x02]\\s*\n?")
UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")


def read(data: bytes, name: str) -> Parsed:
    """The text of all pages. Raises UnreadableDocument: damaged, encrypted, too long or scanned."""
    pages, parts, at = [], [], 0
    for number, text in enumerate(_page_texts(data, name), start=1):
        pages.append(Page(number, at, at + len(text)))
        parts.append(text)
        at += len(text) + 1
    if not any(parts):
        raise UnreadableDocument(
            "{name} is scanned: none of its {pages} pages has a text layer; OCR comes "
            "with a later version",
            name=name,
            pages=len(pages),
        )
    return Parsed(text="\n".join(parts), media_type="application/pdf", pages=tuple(pages))


def _page_texts(data: bytes, name: str) -> Iterator[str]:
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise _refusal(name, str(error)) from error
    try:
        if len(document) > MAX_PAGES:
            raise UnreadableDocument(
                "{name} has {document} pages; the limit is {max_pages}: split it",
                name=name,
                document=len(document),
                max_pages=MAX_PAGES,
            )
        for index in range(len(document)):
            yield _page_text(document, index, name)
    finally:
        document.close()


def _page_text(document: pypdfium2.PdfDocument, index: int, name: str) -> str:
    try:
        page = document[index]
        text_page = page.get_textpage()
        raw: str = text_page.get_text_range()
        text_page.close()
        page.close()
    except (pypdfium2.PdfiumError, UnicodeError) as error:
        raise UnreadableDocument(
            "{name} is damaged: page {index} cannot be read", name=name, index=index + 1
        ) from error
    return reflowed(raw)


def _refusal(name: str, cause: str) -> UnreadableDocument:
    if "password" in cause.lower() or "security" in cause.lower():
        return UnreadableDocument(
            "{name} is encrypted; remove its password and try again", name=name
        )
    return UnreadableDocument("{name} is damaged: it cannot be opened as a PDF", name=name)


def reflowed(raw: str) -> str:
    """Printed lines to paragraphs."""
    text = raw.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = UNWANTED.sub("", SOFT_HYPHEN.sub("", text))
    lines = [line.strip() for line in text.split("\n")]
    widest = max(map(_width, lines))
    joined = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        joined += line + _joint(line, following, widest)
    return joined.strip()


def _joint(line: str, following: str, widest: int) -> str:
    """What stands between two printed lines: nothing, a space or a line end."""
    if not line or not following or _width(line) < FULL_LINE * widest:
        return "\n"
    if line[-1] in SENTENCE_END and not following[0].islower():
        return "\n"
    wide = _wide(line[-1]) or _wide(following[0])
    return "" if wide else " "


def _width(line: str) -> int:
    return sum(2 if _wide(c) else 1 for c in line)


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
