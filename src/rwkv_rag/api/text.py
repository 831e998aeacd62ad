"""Texts from outside as fields of requests: valid Unicode, and for names nothing that hides."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

LONGEST_NAME = 512


def _whole(text: str) -> str:
    """Lone surrogates, which JSON can write and nothing can store, become a question mark."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _shown(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("the name is empty or has characters that cannot be shown")
    return text


Text = Annotated[str, AfterValidator(_whole)]
Name = Annotated[str, AfterValidator(_whole), Field(min_length=1, max_length=LONGEST_NAME)]
Shown = Annotated[Name, AfterValidator(_shown)]
