"""What our errors say in Chinese. Knows messages by pattern; what it does not know stays English.

The library speaks English; the edges (cli, ui) translate on the way to the user. A value named
`why` in a pattern is itself a message and is translated too; any other is the user's own words.
Each room's messages are a table of their own; the first pattern that fits counts.
"""

from __future__ import annotations

import re
from functools import cache

from rwkv_rag.errors import RagError
from rwkv_rag.messages import (
    api,
    asking,
    bus,
    commands,
    config,
    keys,
    library,
    models,
    processes,
    services,
    system,
    tuning,
)
from rwkv_rag.types import Language

_ROOMS = (
    *(tuning, commands, models, services, api, bus, keys),
    *(config, processes, library, asking, system),
)
CHINESE: tuple[tuple[str, str], ...] = tuple(line for room in _ROOMS for line in room.CHINESE)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compiled for the first Chinese reader: English ones need not wait for it."""
    return tuple((re.compile(pattern, re.DOTALL), chinese) for pattern, chinese in CHINESE)


def explain(error: RagError, language: Language) -> str:
    """The error's message on one line, in `language` where we know it."""
    return explain_reason(str(error), language)


def explain_reason(message: str, language: Language) -> str:
    """A message of ours on one line, in `language` where we know it."""
    message = " ".join(message.split())
    if language == "zh":
        for pattern, chinese in _patterns():
            if match := pattern.fullmatch(message):
                return chinese.format(*_values(match))
    return message


def _values(match: re.Match[str]) -> list[str]:
    why = match.re.groupindex.get("why", 0)
    return [
        explain_reason(value or "", "zh") if number == why else value or ""
        for number, value in enumerate(match.groups(), start=1)
    ]
