"""Addresses of services: tcp://HOST:PORT, ipc:///PATH or inproc://NAME. Knows no socket."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, cast

from rwkv_rag.errors import InputError

Scheme = Literal["tcp", "ipc", "inproc"]

MAX_PATH_BYTES = 107 if sys.platform == "linux" else 103  # of a socket, without the last zero
MAX_PORT = 65535
_PORT = re.compile(r"[0-9]{1,5}")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\*")
_TCP = re.compile(r"(?:\[(?P<ipv6>[0-9A-Za-z:.%_-]*)\]|(?P<host>[^:/]*)):(?P<port>[^:/]*)")


@dataclass(frozen=True, slots=True)
class Address:
    """A place to bind or connect to. `host` is a path with ipc and a name with inproc.

    Port 0 is any free port, and only for binding.
    """

    scheme: Scheme
    host: str
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address `text` names. Raises InputError for anything else."""
        scheme, mark, rest = text.partition("://")
        if not mark or scheme not in ("tcp", "ipc", "inproc"):
            raise InputError(
                "the address {text!r} must be tcp://HOST:PORT, ipc:///PATH or inproc://NAME",
                text=text,
            )
        if scheme == "tcp":
            return _tcp(text, rest)
        if scheme == "ipc":
            _check_path(text, rest)
        elif not rest or not rest.isprintable():
            raise InputError("the address {text!r} has no name; write inproc://NAME", text=text)
        return cls(cast("Scheme", scheme), rest)

    @property
    def url(self) -> str:
        """The address as it is written; `parse` reads it back."""
        if self.scheme != "tcp":
            return f"{self.scheme}://{self.host}"
        return f"tcp://{f'[{self.host}]' if self.ipv6 else self.host}:{self.port}"

    @property
    def ipv6(self) -> bool:
        """Whether the host is an IPv6 address, which a socket needs an option for."""
        return self.scheme == "tcp" and ":" in self.host

    @property
    def loopback(self) -> bool:
        """Whether only programs on this machine can reach it; of names, only "localhost" counts."""
        if self.scheme != "tcp" or self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def _tcp(text: str, rest: str) -> Address:
    match = _TCP.fullmatch(rest)
    if not match:
        raise InputError("the address {text!r} has no port; write tcp://HOST:PORT", text=text)
    host = match["ipv6"] or match["host"]
    if not (_is_ipv6(host) if match["ipv6"] else _HOST.fullmatch(host)):
        raise InputError(
            "the address {text!r} has no usable host; write tcp://HOST:PORT", text=text
        )
    if not _PORT.fullmatch(match["port"]) or int(match["port"]) > MAX_PORT:
        raise InputError(
            "the port of {text!r} must be a number from 0 to {max_port}",
            text=text,
            max_port=MAX_PORT,
        )
    return Address("tcp", host, int(match["port"]))


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def _check_path(text: str, path: str) -> None:
    """A path that a socket can have: absolute, printable, short enough for the system."""
    if not Path(path).is_absolute() or not path.isprintable() or path.endswith("/"):
        raise InputError(
            "the address {text!r} needs the whole path of a file: ipc:///PATH", text=text
        )
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise InputError(
            "the address {text!r} has a path of {size} bytes; sockets take "
            "{max_path_bytes}: choose a shorter directory with --home, or tcp",
            text=text,
            size=size,
            max_path_bytes=MAX_PATH_BYTES,
        )
