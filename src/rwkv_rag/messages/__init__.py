"""Messages in a given language; goes away as soon as all edges use `i18n` themselves."""

from __future__ import annotations

from rwkv_rag.errors import Message, RagError
from rwkv_rag.i18n import _, in_language
from rwkv_rag.types import Language


def explain(error: RagError, language: Language) -> str:
    """The error's message on one line, in `language`."""
    return explain_reason(error.message, language)


def explain_reason(message: str | Message | None, language: Language) -> str:
    """A message on one line, in `language` where the catalogue has it."""
    with in_language(language):
        text = _(Message(message) if isinstance(message, str) else message) if message else ""
    return " ".join(text.split())
