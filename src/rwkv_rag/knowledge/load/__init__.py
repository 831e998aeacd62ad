"""Files to documents: which reader reads what. Knows no knowledge base and no chunk.

The text made here is the coordinate system of everything that follows: line ends are `\\n`, and
nothing changes it afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rwkv_rag.errors import InputError, UnreadableDocument
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
        raise UnreadableDocument(f"{name} contains only white space")
    if len(parsed.text) > MAX_CHARACTERS:
        raise UnreadableDocument(
            f"{name} has {len(parsed.text):,} characters; the limit is {MAX_CHARACTERS:,}: split it"
        )
    return Document(
        name=name,
        text=parsed.text,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=parsed.media_type,
        pages=parsed.pages,
    )


def read_bytes(path: Path) -> bytes:
    """The file's bytes, within the size limit."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory, not a document")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UnreadableDocument(
                f"{path.name} is {size / 2**20:.0f} MiB; the limit is {MAX_BYTES // 2**20} MiB"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise UnreadableDocument(f"{path} cannot be read: {error.strerror}") from error
    if not data:
        raise UnreadableDocument(f"{path.name} is empty")
    return data


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
        f"{path.name}: files of type {suffix} cannot be read; supported are {' '.join(SUPPORTED)}"
    )
