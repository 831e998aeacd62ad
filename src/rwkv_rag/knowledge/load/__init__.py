"""Files to documents: which reader reads what. Knows no knowledge base and no chunk.

The text made here is the coordinate system of everything that follows: line ends are `\\n`, and
nothing changes it afterwards.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rwkv_rag.errors import InputError, UnreadableDocument, system_reason
from rwkv_rag.types import Document, Page

MAX_BYTES = 128 * 2**20
MAX_CHARACTERS = 64 * 2**20

PDF_SUFFIXES = (".pdf",)
MARKDOWN_SUFFIXES = (".md", ".markdown")
TEXT_SUFFIXES = (".txt", ".text", ".log")
SUPPORTED = (*TEXT_SUFFIXES, *MARKDOWN_SUFFIXES, *PDF_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a reader makes of a file's bytes. Page spans count characters of `text`."""

    text: str
    media_type: str
    pages: tuple[Page, ...] = ()


Reader = Callable[[bytes, str], Parsed]


def load(path: Path, *, name: str) -> Document:
    """Read `path` as the document `name`. Raises UnreadableDocument saying why not."""
    data = read_bytes(path)
    parsed = _reader(path, data)(data, name)
    if not parsed.text.strip():
        raise UnreadableDocument("{name} contains only white space", name=name)
    if len(parsed.text) > MAX_CHARACTERS:
        raise UnreadableDocument(
            "{name} has {text:,} characters; the limit is {max_characters:,}: split it",
            name=name,
            text=len(parsed.text),
            max_characters=MAX_CHARACTERS,
        )
    return Document(
        name=name,
        text=parsed.text,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=parsed.media_type,
        pages=parsed.pages,
    )


def read_bytes(path: Path) -> bytes:
    """The file's bytes, within the size limit, however long the file claims to be."""
    shown = printable(path)
    try:
        _require_file(path)
        with open(path, "rb", opener=_at_once) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError("{shown} does not exist; check the path", shown=shown) from None
    except OSError as error:
        raise UnreadableDocument(
            "{shown} cannot be read: {reason}", shown=shown, reason=system_reason(error)
        ) from error
    if len(data) > MAX_BYTES:
        size = max(path.stat().st_size, len(data))
        raise UnreadableDocument(
            "{path} is {size:.0f} MiB; the limit is {max_bytes} MiB",
            path=printable(path.name),
            size=size / 2**20,
            max_bytes=MAX_BYTES // 2**20,
        )
    if not data:
        raise UnreadableDocument("{path} is empty", path=printable(path.name))
    return data


def printable(name: str | Path) -> str:
    """A file name that can be shown and stored; what of it is not UTF-8 becomes U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def _require_file(path: Path) -> None:
    """Looks before opening, because opening a pipe or a device may wait or do things."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        os.listdir(path)  # says so if it is unreadable, which is why nothing in it was found
        raise InputError("{path} is a directory, not a document", path=printable(path))
    if not stat.S_ISREG(mode):
        raise UnreadableDocument(
            "{path} is not a regular file (a pipe or a device); only files are read",
            path=printable(path),
        )


def _at_once(path: str, flags: int) -> int:
    # The file may have become a pipe since it was looked at.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _reader(path: Path, data: bytes) -> Reader:
    suffix = path.suffix.lower()
    if suffix in PDF_SUFFIXES or data.startswith(b"%PDF-"):
        # Only this reader needs the PDF library: texts are read without loading it.
        from rwkv_rag.knowledge.load import pdf

        return pdf.read
    if suffix in MARKDOWN_SUFFIXES:
        from rwkv_rag.knowledge.load import markdown

        return markdown.read
    if suffix in TEXT_SUFFIXES or not suffix:
        from rwkv_rag.knowledge.load import text

        return text.read
    raise UnreadableDocument(
        "{path}: files of type {suffix} cannot be read; supported are {supported}",
        path=printable(path.name),
        suffix=printable(suffix),
        supported=" ".join(SUPPORTED),
    )
