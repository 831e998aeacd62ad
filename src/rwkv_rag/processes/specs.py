"""What a child process is to be: one line of JSON on its standard input.

Besides that line, a child learns only the end of its input from the supervisor (see `child`); what
keeps it from working goes back as one line of JSON on its output. Knows no socket and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from rwkv_rag.config import Settings
from rwkv_rag.errors import BadMessage, Message, RagError

MAX_LINE_BYTES = 2000  # of what a child writes; a longer line is cut


class RouterSpec(Struct, frozen=True, tag="router"):
    """The router of a service. `keys` is the data directory with its keys, if it needs any."""

    service: str
    front: str
    back: str
    directory: Mapping[str, str] = {}
    keys: str = ""


class WorkerSpec(Struct, frozen=True, tag="worker"):
    """A worker of a service: takes requests at `back` and answers them.

    llm     the front end that gives vectors to the index; empty: models of its own
    open    whether other machines reach the service: it reads no file that a request names
    keys    the data directory whose keys to use
    key     the file of this machine's own key, where the service runs on another
    """

    service: str
    name: str
    back: str
    settings: Settings
    llm: str = ""
    open: bool = False
    keys: str = ""
    key: str = ""


class ProgramSpec(Struct, frozen=True, tag="program"):
    """A module that is a server of its own: the HTTP API, the pages."""

    module: str
    arguments: tuple[str, ...] = ()


ProcessSpec = RouterSpec | WorkerSpec | ProgramSpec


class ProcessPlan(Struct, frozen=True):
    """A process to be started: its name for people, what it is to be, its environment."""

    name: str
    spec: ProcessSpec
    environment: Mapping[str, str]


def encode(spec: ProcessSpec) -> bytes:
    return msgspec.json.encode(spec, enc_hook=str) + b"\n"


def decode(line: bytes) -> ProcessSpec:
    """The spec in a line. Raises BadMessage for a line that no supervisor wrote."""

    def path(wanted: type, value: Any) -> Any:
        return wanted(value)

    try:
        spec: ProcessSpec = msgspec.json.decode(line, type=ProcessSpec, dec_hook=path)
    except msgspec.MsgspecError as error:
        raise BadMessage(
            "no order that a child process understands: {reason!r}", reason=error
        ) from error
    return spec


def encode_error(error: RagError) -> bytes:
    """The line that tells the supervisor why a child cannot work."""
    line = msgspec.json.encode({"error": error.message.json()}) + b"\n"
    return line if len(line) <= MAX_LINE_BYTES else f"{error}\n".encode()


def decode_error(line: bytes) -> Message | None:
    """The message in such a line; None for any other."""
    try:
        error = Message.from_json(msgspec.json.decode(line)["error"])
        str(error)  # the values must fill the template
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return error
