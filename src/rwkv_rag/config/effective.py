"""The configuration in effect: `ragq.yml`, overridden by the environment and by options.

For the commands that start services or show the configuration; others need `config.load` alone.
Knows no process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rwkv_rag import config
from rwkv_rag.config import file as files
from rwkv_rag.config.ragq import Ragq

_SOURCES = {
    "home": ("--home", "RWKV_RAG_HOME"),
    "model": ("--model", "RWKV_RAG_MODEL"),
    "tuned": ("--tuned", "RWKV_RAG_TUNED"),
    "language": ("--lang", "RWKV_RAG_LANG"),
}


@dataclass(frozen=True, slots=True)
class Effective:
    """`settings` for the objects, `ragq` for the services.

    file        the `ragq.yml` that was read, None where there is none
    overrides   values that are not the file's: the setting's name, and the option or variable
    """

    settings: config.Settings
    ragq: Ragq
    file: Path | None
    overrides: Mapping[str, str] = field(default_factory=dict)

    def yaml(self) -> str:
        """The configuration as YAML that can be read again, with where it came from."""
        lines = [f"# {self.file}" if self.file else f"# defaults (no {config.FILE_NAME} found)"]
        lines += [f"# {name}: {source}" for name, source in self.overrides.items()]
        return "\n".join([*lines, files.written(self.ragq)])

    def json(self) -> dict[str, Any]:
        """The same for programs."""
        source = str(self.file) if self.file else ""
        values = self.ragq.model_dump(mode="json", exclude_none=True)
        return {"file": source, "beside": dict(self.overrides), "configuration": values}

    def with_ports(self, *, ui: int | None, api: int | None) -> Effective:
        """The same, with other ports where they are given. Raises InputError where both are one."""
        ragq = self.ragq
        for name, port in (("ui", ui), ("api", api)):
            if port is not None:
                section = getattr(ragq, name).model_copy(update={"port": port})
                ragq = ragq.model_copy(update={name: section})
        files.check_ports(self.file, ragq)
        return replace(self, ragq=ragq)


def load(
    *, file: Path | None = None, environ: Mapping[str, str] | None = None, **given: Any
) -> Effective:
    """As `config.load`, and the services."""
    environ = os.environ if environ is None else environ
    found = config.configuration_file(file, home=given.get("home"), environ=environ)
    settings = config.load(file=file, environ=environ, **given)
    ragq = files.read(found) if found else Ragq()
    overrides = {}
    for name, (option, variable) in _SOURCES.items():
        if given.get(name) is not None:
            overrides[name] = option
        elif environ.get(variable):
            overrides[name] = variable
    return Effective(settings, ragq.with_settings(asdict(settings)), found, overrides)
