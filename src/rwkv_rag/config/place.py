"""Where `ragq.yml` is looked for, without reading it: a command's help needs no YAML.

--config FILE, RWKV_RAG_CONFIG, ./ragq.yml, HOME/ragq.yml: the first that is there counts, and the
first two must be there. Knows nothing of its content but the line that names the language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from rwkv_rag.errors import NotFound

NAME = "ragq.yml"
VARIABLE = "RWKV_RAG_CONFIG"
_LANGUAGE = re.compile(r"^language:[ \t]*[\"']?(zh|en)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)


def find(given: Path | None, home: Path, environ: Mapping[str, str]) -> Path | None:
    """The file that counts, None where there is none. Raises NotFound for one that was named."""
    named = given or (Path(environ[VARIABLE]) if environ.get(VARIABLE) else None)
    if named:
        named = named.expanduser().absolute()
        if not _there(named):
            asked = "--config" if given else VARIABLE
            raise NotFound(
                "no such configuration file: {named}; check {asked}", named=named, asked=asked
            )
        return named
    places = (Path.cwd() / NAME, home / NAME)
    return next((place for place in places if _there(place)), None)


def language_in(file: Path) -> str:
    """The language a file names on a line of its own, "" where none can be seen."""
    try:
        found = _LANGUAGE.search(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return found[1] if found else ""


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
