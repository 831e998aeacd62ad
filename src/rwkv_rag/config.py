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
    that writes answers, never the one that makes vectors. `strict` answers quote word for word.
    """

    home: Path
    model: str = BUILTIN
    language: Language = "en"
    chunk_size: int = 400
    chunk_overlap: int = 60
    top_k: int = 5
    strict: bool = True

    def __post_init__(self) -> None:
        if self.home.exists() and not self.home.is_dir():
            raise InputError(f"the home {self.home} is not a directory; choose another with --home")
        if not 1 <= self.top_k <= 100:
            raise InputError(f"top-k must be between 1 and 100, not {self.top_k}")


def load(
    *,
    home: Path | None = None,
    model: str | None = None,
    language: Language | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from what the user gave, then from the environment, then defaults.

    Read are RWKV_RAG_HOME, RWKV_RAG_MODEL, RWKV_RAG_LANG and the locale.
    """
    environ = os.environ if environ is None else environ
    return Settings(
        home=(home or Path(environ.get("RWKV_RAG_HOME") or _default_home()))
        .expanduser()
        .absolute(),
        model=model or environ.get("RWKV_RAG_MODEL") or BUILTIN,
        language=language or locale_language(environ),
    )


def locale_language(environ: Mapping[str, str] | None = None) -> Language:
    """RWKV_RAG_LANG, else what the POSIX locale variables say; English unless Chinese."""
    environ = os.environ if environ is None else environ
    for name in ("RWKV_RAG_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def _default_home() -> str:
    from platformdirs import user_data_dir

    return user_data_dir("rwkv-rag", appauthor=False)
