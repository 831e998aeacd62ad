"""What runs below a home directory: `HOME/run/services.json`, as `rwkv-rag up` writes it.

Only the file; whether its writer still lives is told by the lock beside it (`lock_file`), which the
kernel frees when it dies. Knows no process and no socket.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LIMIT = 1 << 16  # bytes; what is larger was not written by us


@dataclass(frozen=True, slots=True)
class Running:
    """Where the services of one `up` are reached.

    `services` has the front end of "llm", "index", "tuning" by name, as far as they run; `control`
    is the supervisor's own. `api` and `ui` are URLs for a browser, empty where they do not run.
    `server_key` is the server's key file where their addresses ask for keys, and `sockets` a
    directory with nothing but their sockets in it; both are empty otherwise.
    """

    pid: int
    control: str
    services: Mapping[str, str] = field(default_factory=dict)
    api: str = ""
    ui: str = ""
    server_key: str = ""
    sockets: str = ""

    def json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"


def run_directory(home: Path) -> Path:
    return home / "run"


def lock_file(home: Path) -> Path:
    """Locked by the process that runs the services, for as long as it lives."""
    return run_directory(home) / "up.lock"


def services_file(home: Path) -> Path:
    return run_directory(home) / "services.json"


def read(home: Path) -> Running | None:
    """What `up` said of itself last; None where there is nothing, or nothing that we wrote."""
    try:
        content = services_file(home).read_bytes()
        return _checked(json.loads(content)) if len(content) <= LIMIT else None
    except (OSError, ValueError, RecursionError):
        return None


def _checked(value: Any) -> Running | None:
    texts = ("control", "api", "ui", "server_key", "sockets")
    if not isinstance(value, dict) or not isinstance(value.get("pid"), int):
        return None
    services = value.get("services", {})
    if not isinstance(services, dict):
        return None
    named = {key: value.get(key, "") for key in texts}
    if not all(isinstance(each, str) for each in (*services.values(), *named.values())):
        return None
    return Running(pid=value["pid"], services=services, **named)
