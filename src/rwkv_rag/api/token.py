"""The bearer token of the API: made once, kept where only its owner reads it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from rwkv_rag.errors import InputError, system_reason


def token_file(home: Path) -> Path:
    """Where the token of the API under `home` is kept."""
    return home / "keys" / "api.token"


def kept_token(home: Path) -> str:
    """The token, made at the first call. Raises InputError where it cannot be kept or is open."""
    path = token_file(home)
    if path.exists():
        return read_token(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _written(path) or read_token(path)
    except OSError as error:
        raise InputError(
            "{path} cannot be used as the token ({reason})", path=path, reason=system_reason(error)
        ) from error


def read_token(path: Path) -> str:
    """The token in a file. Raises InputError for one that is empty, or that others can read."""
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise InputError("{path} can be read by others; run: chmod 600 {path}", path=path)
        token = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise InputError(
            "{path} cannot be used as the token ({reason})", path=path, reason=system_reason(error)
        ) from error
    if not token:
        raise InputError("{path} is empty; delete it and a new token is made", path=path)
    return token


def _written(path: Path) -> str:
    """A new token, or nothing where there is one: whoever comes second takes the first's."""
    token = secrets.token_urlsafe(32)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token + "\n")
        os.link(made, path)  # whole or not at all, and never over another
    except FileExistsError:
        return ""
    finally:
        made.unlink(missing_ok=True)
    return token
