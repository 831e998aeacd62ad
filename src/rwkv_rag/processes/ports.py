"""Whether an address can be listened on, and who does if not; found before anything starts.

Knows nothing of what is to listen.
"""

from __future__ import annotations

import errno
import os
import socket

from rwkv_rag.errors import Busy, InputError, system_reason

EVERYWHERE = ("*", "0.0.0.0", "::")


def resolved(key: str, host: str) -> str:
    """The address `host` stands for. Raises InputError for a name nobody knows."""
    if host == "*":
        return "0.0.0.0"
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            "{key} is {host!r}; this machine knows no such host", key=key, host=host
        ) from error
    addresses = [str(place[0]) for *_, place in found]
    return next((each for each in addresses if ":" not in each), addresses[0])


def reachable(address: str) -> str:
    """Where a program on this machine reaches what listens at `address`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)


def check_free(key: str, address: str, port: int) -> None:
    """Raise Busy where another program listens there, InputError where nobody can."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as all our servers do; elsewhere it would allow two
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            raise _explained(error, key, address, port) from error


def _explained(error: OSError, key: str, address: str, port: int) -> Busy | InputError:
    if error.errno == errno.EADDRINUSE:
        return Busy(
            "port {port} ({key}) is taken by {port2}; choose another with {key}",
            port=port,
            key=key,
            port2=holder(port),
        )
    if error.errno == errno.EADDRNOTAVAIL:
        host = key.replace(".port", ".host")
        return InputError(
            "{host} is {address}, which is no address of this machine", host=host, address=address
        )
    return InputError(
        "port {port} ({key}) cannot be used ({reason})",
        port=port,
        key=key,
        reason=system_reason(error),
    )


def holder(port: int) -> str:
    """The program that listens on `port`, as far as we may know."""
    import psutil

    try:
        for each in psutil.net_connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid:
                return f"{psutil.Process(each.pid).name()} (process {each.pid})"
    except (psutil.Error, OSError):
        pass
    return "another program"
