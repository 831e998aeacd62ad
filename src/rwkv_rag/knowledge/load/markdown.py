"""Markdown, kept exactly as written. Knows no syntax: the splitter finds the headings."""

from __future__ import annotations

from rwkv_rag.knowledge.load import Parsed
from rwkv_rag.knowledge.load.text import decode, normalised


def read(data: bytes, name: str) -> Parsed:
    """Decode `data` like any text."""
    return Parsed(text=normalised(decode(data, name)), media_type="text/markdown")
