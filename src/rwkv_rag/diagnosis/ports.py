"""Whether a port is free, and which program holds it. Knows no service."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

LONGEST_COMMAND = 80


def is_free(host: str, port: int) -> bool:
    """Whether this user could listen there now. A port that was just let go counts as free."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError:
        return False
    return True


def holder(port: int) -> str:
    """Who listens on a TCP port: "nginx (process 812: nginx -g …)"; empty if we may not know."""
    import psutil

    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.pid
                and connection.status == psutil.CONN_LISTEN
                and connection.laddr.port == port
            ):
                return _named(psutil.Process(connection.pid))
    return ""


def _named(process: psutil.Process) -> str:
    with process.oneshot():
        name, command = process.name(), " ".join(process.cmdline())
    shown = command if len(command) <= LONGEST_COMMAND else command[: LONGEST_COMMAND - 1] + "…"
    return f"{name} (process {process.pid}: {shown})"
