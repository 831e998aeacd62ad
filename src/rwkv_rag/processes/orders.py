"""What a child process is told to be: one line of JSON on its standard input.

That line and the end of the input are all a child hears from its supervisor; see `__main__`.
Knows no socket and no model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rwkv_rag.config import Settings
from rwkv_rag.errors import BadMessage, Message, RagError


@dataclass(frozen=True, slots=True)
class RouterOrder:
    """Be the router of a service. `home` has its keys, where its addresses ask for some."""

    service: str
    front: str
    back: str
    directory: Mapping[str, str] = field(default_factory=dict)
    keys: str = ""


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """Be a worker of a service: fetch requests at `back` and answer them.

    llm     the front end that gives vectors to the index; empty: models of its own
    open    whether other machines reach the service: it opens no file that it is told
    keys    the data directory whose keys to use
    key     the file of this machine's own key, where the service runs on another
    """

    service: str
    name: str
    back: str
    settings: Mapping[str, Any]
    llm: str = ""
    open: bool = False
    keys: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class ProgramOrder:
    """Be a program of ours that listens on its own: the API, the pages."""

    module: str
    arguments: tuple[str, ...] = ()


Order = RouterOrder | WorkerOrder | ProgramOrder
_ROLES: dict[str, type[Order]] = {
    "router": RouterOrder,
    "worker": WorkerOrder,
    "program": ProgramOrder,
}


def to_line(order: Order) -> bytes:
    role = next(name for name, kind in _ROLES.items() if isinstance(order, kind))
    return json.dumps({"role": role, **asdict(order)}, default=str).encode() + b"\n"


def from_line(line: bytes) -> Order:
    """The order in a line. Raises BadMessage for a line that no supervisor wrote."""
    try:
        told = json.loads(line)
        return _ROLES[told.pop("role")](**told)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadMessage(
            "no order that a child process understands: {reason!r}", reason=error
        ) from error


def error_line(error: RagError) -> str:
    """An error as a child writes it, for its supervisor to show in the user's language."""
    return json.dumps({"error": error.message.json()})


def received_error(line: str) -> Message | None:
    """The error in a line that `error_line` made; None for any other line."""
    try:
        return Message.from_json(json.loads(line)["error"])
    except (ValueError, KeyError, TypeError):
        return None


def settings_of(order: WorkerOrder) -> Settings:
    """The settings as the supervisor had them."""
    told = dict(order.settings)
    for name in ("home", "key", "catalog", "chroma"):
        if told.get(name) is not None:
            told[name] = Path(told[name])
    return Settings(**told)
