"""A finding: one thing that was looked at, how it is, and what to do. Knows no check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`said` and `mend` are English texts of `words`, filled in with `values`.

    about   what was looked at, the same in every language
    mend    what to do about it; empty where nothing is to be done
    values  one that is called `why` is itself a message of ours
    table   lines that belong to it, the first with their headings
    """

    about: str
    state: State
    said: str
    mend: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    table: tuple[tuple[str, ...], ...] = ()


def ok(about: str, said: str, **values: Any) -> Finding:
    """As it should be."""
    return Finding(about, "ok", said, values=values)


def warn(about: str, said: str, mend: str, **values: Any) -> Finding:
    """It works, and not as well or as safely as it could."""
    return Finding(about, "warn", said, mend, values)


def fail(about: str, said: str, mend: str = "", **values: Any) -> Finding:
    """Something will not work until it is mended."""
    return Finding(about, "fail", said, mend, values)
