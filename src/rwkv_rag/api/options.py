"""How the API listens and what it takes; checked before anything is opened. Reads no file."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from rwkv_rag.errors import InputError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """Where the API listens, who may call it, and how much it reads.

    host             the address to bind; anything but loopback needs a token
    token            what callers send as `Authorization: Bearer …`; empty: nobody is asked
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
        if self.token and (len(self.token) < 16 or not self.token.isascii()):
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
