"""Settings: where data lives, which model runs, the defaults. Alone reads the environment.

Knows no model and no store; values travel from here as arguments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwkv_rag.config import place
from rwkv_rag.errors import InputError, system_reason
from rwkv_rag.types import Language

SERVICES = ("llm", "index", "tuning")
BUILTIN = "builtin"
FAKE = "fake"
"""A model name for dry runs: stand-ins that need no weights (see `rwkv_rag.testing`)."""
READ_ALONE = ("chunk_size", "chunk_overlap", "top_k", "catalog", "chroma")
"""Settings that only `ragq.yml` gives."""


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
    catalog     the SQLite file with the knowledge bases, None for the one below `home`
    chroma      the directory of the vector index, likewise
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
    catalog: Path | None = None
    chroma: Path | None = None

    def __post_init__(self) -> None:
        if _exists(self.home) and not self.home.is_dir():
            raise InputError(
                "the home {home} is not a directory; choose another with --home", home=self.home
            )
        if not self.model.strip():
            raise InputError("the model is empty; give the path of a checkpoint, or builtin")
        if not 1 <= self.top_k <= 100:
            raise InputError("top-k must be between 1 and 100, not {top_k}", top_k=self.top_k)


def load(
    *,
    home: Path | None = None,
    model: str | None = None,
    tuned: str | None = None,
    language: Language | None = None,
    connect: str | None = None,
    key: Path | None = None,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from what the user gave, then the environment, then `ragq.yml`, then defaults.

    Read are RWKV_RAG_HOME, RWKV_RAG_MODEL, RWKV_RAG_TUNED, RWKV_RAG_CONNECT, RWKV_RAG_KEY,
    RWKV_RAG_LANG, RWKV_RAG_CONFIG and the locale. `file` takes the place of the last but one.
    """
    environ = os.environ if environ is None else environ
    found = configuration_file(file, home=home, environ=environ)
    said = _read(found) if found else {}
    key_file = key or environ.get("RWKV_RAG_KEY")
    chosen = environ.get("RWKV_RAG_MODEL", "") if model is None else model
    return Settings(
        home=_whole(home or environ.get("RWKV_RAG_HOME") or said.pop("home", _default_home())),
        model=_model((chosen or said.pop("model", BUILTIN)) if model is None else model),
        tuned=(environ.get("RWKV_RAG_TUNED") or said.pop("tuned", "")) if tuned is None else tuned,
        language=language or user_language(environ, found),
        connect=environ.get("RWKV_RAG_CONNECT", "") if connect is None else connect,
        key=_whole(key_file) if key_file else None,
        named=bool(chosen),
        **{name: value for name, value in said.items() if name in READ_ALONE},
    )


def configuration_file(
    given: Path | None = None,
    *,
    home: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Path | None:
    """The `ragq.yml` that counts, None where there is none. Raises NotFound for a named one."""
    environ = os.environ if environ is None else environ
    return place.find(
        given, _whole(home or environ.get("RWKV_RAG_HOME") or _default_home()), environ
    )


def _read(path: Path) -> dict[str, Any]:
    from rwkv_rag.config.file import read

    return read(path).settings()


def _model(name: str) -> str:
    """A model's name, or its whole path: services need not have been started where a command is."""
    return name if name in (BUILTIN, FAKE) or not name.strip() else str(_whole(name))


def _whole(path: Path | str) -> Path:
    return Path(path).expanduser().absolute()


def user_language(environ: Mapping[str, str] | None = None, file: Path | None = None) -> Language:
    """RWKV_RAG_LANG, else what `ragq.yml` says, else the locale."""
    environ = os.environ if environ is None else environ
    if file is None:
        with suppress(InputError):  # said by whoever needs the file, in some language
            file = configuration_file(environ=environ)
    if not environ.get("RWKV_RAG_LANG") and file and (said := place.language_in(file)):
        return "zh" if said == "zh" else "en"
    return locale_language(environ)


def locale_language(environ: Mapping[str, str] | None = None) -> Language:
    """RWKV_RAG_LANG, else what the POSIX locale variables say; English unless Chinese.

    Raises InputError where RWKV_RAG_LANG names a language we do not speak: a locale is the user's
    for every program, but our own variable was meant for us.
    """
    environ = os.environ if environ is None else environ
    own = environ.get("RWKV_RAG_LANG", "")
    if own and own.lower()[:2] not in ("zh", "en"):
        raise InputError("RWKV_RAG_LANG is {own!r}; the languages are zh and en", own=own)
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


def child_environment(
    settings: Settings,
    *,
    file: Path | None = None,
    threads: int = 0,
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of a process that `up` starts: it loads the same settings as `up` did.

    `threads` > 0 is how many it may compute with, unless the user has said so himself.
    """
    environ = os.environ if environ is None else environ
    own = {
        "RWKV_RAG_HOME": str(settings.home),
        "RWKV_RAG_MODEL": settings.model,
        "RWKV_RAG_TUNED": settings.tuned,
        "RWKV_RAG_LANG": settings.language,
        "RWKV_RAG_CONFIG": str(file or ""),
        "RWKV_RAG_CONNECT": settings.connect,
        "PYTHONUNBUFFERED": "1",
    }
    if threads and "OMP_NUM_THREADS" not in environ:
        own.update(OMP_NUM_THREADS=str(threads), NUMBA_NUM_THREADS=str(threads))
    return {**sharing_cores(environ), **own}


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
            "{home} cannot be used as the data directory ({reason}); choose another with --home",
            home=home,
            reason=system_reason(error),
        ) from error


def _default_home() -> str:
    from platformdirs import user_data_dir

    return user_data_dir("rwkv-rag", appauthor=False)
