"""Settings: where data lives, which model runs, the defaults. Alone reads the environment.

Knows no model and no store; values travel from here as arguments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rwkv_rag.errors import InputError
from rwkv_rag.types import Language

BUILTIN = "builtin"
FAKE = "fake"
"""A model name for dry runs: stand-ins that need no weights (see `rwkv_rag.testing`)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command starts from.

    `model` is "builtin", "fake" or the path of an RWKV checkpoint; the path only replaces the model
    that writes answers, never the one that makes vectors. `tuned` names what was tuned of it: a
    state, an adapter or a whole model under `home`; empty for the model as it came.

    connect     the address of a service that runs; "off" to do everything in this process; empty
                to use what runs on `home`, if anything does
    key         the key file for an address that asks for one
    named       whether the user said which model; running services write with their own if not
    """

    home: Path
    model: str = BUILTIN
    tuned: str = ""
    language: Language = "en"
    chunk_size: int = 400
    chunk_overlap: int = 60
    top_k: int = 5
    connect: str = ""
    key: Path | None = None
    named: bool = True

    def __post_init__(self) -> None:
        if _exists(self.home) and not self.home.is_dir():
            raise InputError(f"the home {self.home} is not a directory; choose another with --home")
        if not self.model.strip():
            raise InputError("the model is empty; give the path of a checkpoint, or builtin")
        if not 1 <= self.top_k <= 100:
            raise InputError(f"top-k must be between 1 and 100, not {self.top_k}")


def load(
    *,
    home: Path | None = None,
    model: str | None = None,
    tuned: str | None = None,
    language: Language | None = None,
    connect: str | None = None,
    key: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from what the user gave, then from the environment, then defaults.

    Read are RWKV_RAG_HOME, RWKV_RAG_MODEL, RWKV_RAG_TUNED, RWKV_RAG_CONNECT, RWKV_RAG_KEY,
    RWKV_RAG_LANG and the locale.
    """
    environ = os.environ if environ is None else environ
    key_file = key or environ.get("RWKV_RAG_KEY")
    chosen = environ.get("RWKV_RAG_MODEL", "") if model is None else model
    return Settings(
        home=(home or Path(environ.get("RWKV_RAG_HOME") or _default_home()))
        .expanduser()
        .absolute(),
        model=(chosen or BUILTIN) if model is None else model,
        tuned=environ.get("RWKV_RAG_TUNED", "") if tuned is None else tuned,
        language=language or locale_language(environ),
        connect=environ.get("RWKV_RAG_CONNECT", "") if connect is None else connect,
        key=Path(key_file).expanduser().absolute() if key_file else None,
        named=bool(chosen),
    )


def locale_language(environ: Mapping[str, str] | None = None) -> Language:
    """RWKV_RAG_LANG, else what the POSIX locale variables say; English unless Chinese.

    Raises InputError where RWKV_RAG_LANG names a language we do not speak: a locale is the user's
    for every program, but our own variable was meant for us.
    """
    environ = os.environ if environ is None else environ
    own = environ.get("RWKV_RAG_LANG", "")
    if own and own.lower()[:2] not in ("zh", "en"):
        raise InputError(f"RWKV_RAG_LANG is {own!r}; the languages are zh and en")
    for name in ("RWKV_RAG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def sharing_cores(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that computes beside others on the same cores.

    GCC's OpenMP lets a thread that waits for another spin, for longer than the scheduler lets it
    run: with one busy neighbour on two cores a fine-tuning then stands still most of its time. A
    short spin costs nothing where nobody else computes.
    """
    environ = os.environ if environ is None else environ
    own = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & environ.keys()
    return {**environ, **({} if own else {"GOMP_SPINCOUNT": "2000"})}


def joins_machines(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment says where several machines meet, and that this is the first."""
    environ = os.environ if environ is None else environ
    meeting = environ.get("MASTER_ADDR") and environ.get("MASTER_PORT")
    return bool(meeting) and environ.get("NODE_RANK") == "0"


def _exists(home: Path) -> bool:
    try:
        return home.exists()
    except OSError as error:  # under a directory that may not be read, for instance
        raise InputError(
            f"{home} cannot be used as the data directory ({error.strerror}); "
            "choose another with --home"
        ) from error


def _default_home() -> str:
    from platformdirs import user_data_dir

    return user_data_dir("rwkv-rag", appauthor=False)
