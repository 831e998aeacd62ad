"""Texts from outside as fields of requests: valid Unicode, and for names nothing that hides."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from rwkv_rag.errors import message
from rwkv_rag.validation import FieldError

LONGEST_NAME = 512


def _whole(text: Any) -> Any:
    """Lone surrogates, which JSON can write and nothing can store, become a question mark."""
    if isinstance(text, str) and not text.isascii():
        return text.encode(errors="replace").decode()
    return text


def _shown(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise FieldError(message("the name is empty or has characters that cannot be shown"))
    return text


Text = Annotated[str, BeforeValidator(_whole)]
Name = Annotated[str, BeforeValidator(_whole), Field(min_length=1, max_length=LONGEST_NAME)]
Shown = Annotated[Name, AfterValidator(_shown)]
