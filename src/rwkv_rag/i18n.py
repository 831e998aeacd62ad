"""Texts for people in their language, by gettext. Knows no text; the catalogues lie in `locale`.

The language belongs to the current context (a command, a page's run, an HTTP request), so code that
shows something says only `_("Created {name}.", name=name)`.
"""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from rwkv_rag.errors import Message, RagError, message
from rwkv_rag.types import Language

DOMAIN = "rwkv_rag"
FOLDER = Path(__file__).parent / "locale"
LOCALES: dict[Language, str] = {"zh": "zh_CN"}

_language: ContextVar[Language] = ContextVar("language", default="en")


def language() -> Language:
    """The language of the current context."""
    return _language.get()


def set_language(language: Language) -> None:
    """Use `language` in the current context from now on."""
    _language.set(language)


@contextmanager
def in_language(language: Language) -> Iterator[None]:
    """Use `language` within the block."""
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def _(text: str | Message | RagError | None, /, **values: object) -> str:
    """`text` in the current language, with `values` in place; an error's or a message's own.

    An error is one line, whatever it quotes. Nothing for None, so that an optional reason can be
    shown as it is.
    """
    if text is None:
        return ""
    if isinstance(text, RagError):
        return " ".join(_translated(text.message).split())
    return _translated(message(text, **values) if isinstance(text, str) else text)


def N_(text: str) -> str:
    """`text` as it is: marks it for the catalogue where it is shown later."""
    return text


def _translated(text: Message) -> str:
    if not text.template:
        return ""
    template = _catalogue(language()).gettext(text.template)
    if not text.values:
        return template
    return template.format_map(
        {
            name: _translated(value) if isinstance(value, Message) else value
            for name, value in text.values.items()
        }
    )


@cache
def _catalogue(language: Language) -> gettext.NullTranslations:
    if language not in LOCALES:
        return gettext.NullTranslations()
    return gettext.translation(DOMAIN, FOLDER, [LOCALES[language]])


SYSTEM_REASONS = (  # what operating systems say most often, see `errors.system_reason`
    N_("Permission denied"),
    N_("No such file or directory"),
    N_("Is a directory"),
    N_("Not a directory"),
    N_("Too many levels of symbolic links"),
    N_("File name too long"),
    N_("Read-only file system"),
    N_("No space left on device"),
    N_("Input/output error"),
    N_("Too many open files"),
    N_("Operation not permitted"),
)

STATES = (  # of jobs and services, as `types` names them
    N_("waiting"),
    N_("running"),
    N_("starting"),
    N_("ready"),
    N_("restarting"),
    N_("stopped"),
    N_("interrupted"),
    N_("failed"),
    N_("done"),
)
