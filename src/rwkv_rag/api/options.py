"""How the API listens and what it accepts, and the file with its token. Imports no web framework.

The token is made once and kept where only its owner can read it.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from rwkv_rag.errors import InputError, system_reason

MIB = 1 << 20
MIN_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Options:
    """Where the API listens, who may call it, and how much it reads.

    host             the address to bind; anything but loopback needs a token
    token            what clients send as `Authorization: Bearer …`; empty: none is needed
    hosts            further names this server is reached by, beside loopback's own
    folders          files of this machine below them may be named in requests; none: no paths
    json_bytes       the largest JSON body
    upload_bytes     the largest upload, all files together
    files            the most files of one upload
    """

    host: str = "127.0.0.1"
    port: int = 8600
    token: str = ""
    hosts: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    json_bytes: int = 16 * MIB
    upload_bytes: int = 256 * MIB
    files: int = 100

    def __post_init__(self) -> None:
        if not self.loopback and not self.token:
            raise InputError(
                "the API would listen on {host} without a token; set one, or bind 127.0.0.1",
                host=self.host,
            )
        if self.token and (len(self.token) < MIN_TOKEN or not self.token.isascii()):
            raise InputError("the token of the API is too weak; give at least 16 ASCII characters")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own; of names only "localhost" is trusted."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def token_file(home: Path) -> Path:
    """Where the token of the API under `home` is kept."""
    return home / "keys" / "api.token"


def home_token(home: Path) -> str:
    """The token of a home, made at the first call.

    Raises InputError where it cannot be kept, or can be read by others.
    """
    path = token_file(home)
    if path.exists():
        return read_token(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _new_token(path) or read_token(path)
    except OSError as error:
        raise _unusable(path, error) from error


def read_token(path: Path) -> str:
    """The token in a file. Raises InputError for one that is empty, or that others can read."""
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise InputError("{path} can be read by others; run: chmod 600 {path}", path=path)
        token = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise _unusable(path, error) from error
    if not token:
        raise InputError("{path} is empty; delete it and a new token is made", path=path)
    return token


def _unusable(path: Path, error: OSError) -> InputError:
    return InputError(
        "{path} cannot be used as the token ({reason})", path=path, reason=system_reason(error)
    )


def _new_token(path: Path) -> str:
    """Make the file. Returns nothing where another process was first: its token is then used."""
    token = secrets.token_urlsafe(32)
    made = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(token + "\n")
        os.link(made, path)  # complete or not at all, and never over another
    except FileExistsError:
        return ""
    finally:
        made.unlink(missing_ok=True)
    return token
