"""Settings: where data lives, which model runs, the defaults. Alone reads the environment.

Knows no model and no store; values travel from here as arguments.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rwkv_rag.errors import InputError, NotFound, system_reason
from rwkv_rag.types import Language

SERVICES = ("llm", "index", "tuning")
BUILTIN = "builtin"
FAKE = "fake"
"""A model name for dry runs: stand-ins that need no weights (see `rwkv_rag.testing`)."""
ONLY_IN_FILE = ("chunk_size", "chunk_overlap", "top_k", "catalog", "chroma")
"""Settings that only `ragq.yml` gives."""
FILE_NAME = "ragq.yml"
_LANGUAGE_LINE = re.compile(r"^language:[ \t]*[\"']?(zh|en)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command needs to know.

    `model` is "builtin", "fake" or the path of an RWKV checkpoint; the path only replaces the model
    that writes answers, never the one that makes vectors. `tuned` names what was tuned of it: a
    state, an adapter or a whole model under `home`; empty for the model as it came.

    connect     the address of a service that runs; "off" to do everything in this process; empty
                to use what runs on `home`, if anything does
    key         the key file for an address that asks for one
    named       whether the user named the model; if not, running services write with their own
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
        if _home_exists(self.home) and not self.home.is_dir():
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
    """Settings from the arguments, then the environment, then `ragq.yml`, then defaults.

    Variables are RWKV_RAG_HOME, RWKV_RAG_MODEL, RWKV_RAG_TUNED, RWKV_RAG_CONNECT, RWKV_RAG_KEY,
    RWKV_RAG_LANG, RWKV_RAG_CONFIG and those of the locale. `file` is the `ragq.yml` to read.
    """
    environ = os.environ if environ is None else environ
    found = configuration_file(file, home=home, environ=environ)
    of_file = _read(found) if found else {}
    key_file = key or environ.get("RWKV_RAG_KEY")
    if model is None:
        variable = environ.get("RWKV_RAG_MODEL", "")
        model, named = variable or of_file.get("model", BUILTIN), bool(variable)
    else:
        named = bool(model)
    if tuned is None:
        tuned = environ.get("RWKV_RAG_TUNED") or of_file.get("tuned", "")
    return Settings(
        home=_home(home or environ.get("RWKV_RAG_HOME") or of_file.get("home")),
        model=_model(model),
        tuned=tuned,
        language=language or user_language(environ, found),
        connect=environ.get("RWKV_RAG_CONNECT", "") if connect is None else connect,
        key=_absolute(key_file) if key_file else None,
        named=named,
        **{name: of_file[name] for name in ONLY_IN_FILE if name in of_file},
    )


def configuration_file(
    given: Path | None = None,
    *,
    home: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Path | None:
    """The `ragq.yml` to read, None where there is none.

    The first that exists of --config FILE, RWKV_RAG_CONFIG, ./ragq.yml and HOME/ragq.yml. Raises
    NotFound where one of the first two is given and does not exist.
    """
    environ = os.environ if environ is None else environ
    if named := given or environ.get("RWKV_RAG_CONFIG"):
        file = _absolute(named)
        if not _exists(file):
            raise NotFound(
                "no such configuration file: {named}; check {asked}",
                named=file,
                asked="--config" if given else "RWKV_RAG_CONFIG",
            )
        return file
    home = _home(home or environ.get("RWKV_RAG_HOME"))
    files = (Path.cwd() / FILE_NAME, home / FILE_NAME)
    return next((file for file in files if _exists(file)), None)


def _read(path: Path) -> dict[str, Any]:
    from rwkv_rag.config.file import read

    return read(path).settings()


def _model(name: str) -> str:
    """A model's name, or its absolute path: services may run in another directory."""
    return name if name in (BUILTIN, FAKE) or not name.strip() else str(_absolute(name))


def _absolute(path: Path | str) -> Path:
    return Path(path).expanduser().absolute()


def user_language(environ: Mapping[str, str] | None = None, file: Path | None = None) -> Language:
    """RWKV_RAG_LANG, else the language in `ragq.yml`, else the locale's."""
    environ = os.environ if environ is None else environ
    if file is None:
        with suppress(InputError):  # raised again by the command that reads the file
            file = configuration_file(environ=environ)
    if not environ.get("RWKV_RAG_LANG") and file and (language := _language_in(file)):
        return "zh" if language == "zh" else "en"
    return locale_language(environ)


def _language_in(file: Path) -> str:
    """The language a file names on a line of its own; a help page is shown without parsing it."""
    try:
        found = _LANGUAGE_LINE.search(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return found[1] if found else ""


def locale_language(environ: Mapping[str, str] | None = None) -> Language:
    """RWKV_RAG_LANG, else what the POSIX locale variables say; English unless Chinese.

    Raises InputError where RWKV_RAG_LANG names another language: a locale is the user's for every
    program, but that variable is meant for this one.
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

    A thread of GCC's OpenMP that waits for another spins for longer than the scheduler lets it run:
    beside one busy process on two cores a fine-tuning then waits most of its time. A short spin
    costs nothing where no other process computes.
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

    `threads` > 0 is how many it may compute with, unless the environment says so already.
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
    """Whether the environment describes a run on several machines of which this is the first."""
    environ = os.environ if environ is None else environ
    master = environ.get("MASTER_ADDR") and environ.get("MASTER_PORT")
    return bool(master) and environ.get("NODE_RANK") == "0"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _home_exists(home: Path) -> bool:
    try:
        return home.exists()
    except OSError as error:  # under a directory that may not be read, for instance
        raise InputError(
            "{home} cannot be used as the data directory ({reason}); choose another with --home",
            home=home,
            reason=system_reason(error),
        ) from error


def _home(given: Path | str | None) -> Path:
    if given:
        return _absolute(given)
    from platformdirs import user_data_path

    return user_data_path("rwkv-rag", appauthor=False).absolute()
