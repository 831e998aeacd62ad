"""A finding: one thing that was looked at, how it is, and what to do. Knows no check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from rwkv_rag.errors import Message, message
from rwkv_rag.i18n import N_

State = Literal["ok", "warn", "fail"]

SUBJECTS = (  # what is looked at; names of programs are the same in every language
    *(N_("memory"), N_("disk"), N_("temporary"), N_("clock"), N_("settings"), N_("data")),
    *(N_("keys"), N_("model"), N_("services"), N_("ports"), N_("knowledge"), N_("tuning")),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found.

    about   what was looked at, the same in every language
    text    how it is
    remedy  what to do about it, often a command; empty where nothing is to be done
    table   lines that belong to it, the first with their headings
    """

    about: str
    state: State
    text: Message
    remedy: Message | None = None
    table: tuple[tuple[str, ...], ...] = ()


def finding(
    state: State,
    about: str,
    text: str,
    remedy: str = "",
    /,
    *,
    table: tuple[tuple[str, ...], ...] = (),
    **values: object,
) -> Finding:
    """A finding of templates, which `values` fill."""
    found = message(text, **values)
    return Finding(about, state, found, message(remedy, **values) if remedy else None, table)


ok = partial(finding, "ok")
"""It is as it should be."""
warn = partial(finding, "warn")
"""It works, and not as well or as safely as it could."""
fail = partial(finding, "fail")
"""Something will not work until it is mended."""
