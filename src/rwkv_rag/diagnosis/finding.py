"""A finding of `rwkv-rag doctor`: what was checked, its state, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rwkv_rag.i18n import N_

State = Literal["ok", "warn", "fail"]
SUBJECTS = (  # what `Finding.about` says, beside names that are the same in every language
    *(N_("clock"), N_("data"), N_("disk"), N_("gpu"), N_("keys"), N_("knowledge"), N_("memory")),
    *(N_("model"), N_("ports"), N_("python"), N_("services"), N_("settings"), N_("temporary")),
    *(N_("torch"), N_("tuning")),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` and `advice` are English templates, translated where they are shown.

    about    what was checked; the same in every language
    advice   what to do; empty where nothing is to be done
    values   fill both templates; errors and messages among them are translated too
    table    further lines, the first of them the headings
    """

    about: str
    state: State
    text: str
    advice: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    table: tuple[tuple[str, ...], ...] = ()


def ok(about: str, text: str, /, **values: Any) -> Finding:
    """As it should be."""
    return Finding(about, "ok", text, values=values)


def warn(about: str, text: str, advice: str, /, **values: Any) -> Finding:
    """It works, but not as well or as safely as it could."""
    return Finding(about, "warn", text, advice, values)


def fail(about: str, text: str, advice: str = "", /, **values: Any) -> Finding:
    """Something does not work until it is repaired."""
    return Finding(about, "fail", text, advice, values)
