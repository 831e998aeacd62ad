"""Whether a port is free, and which program has it if not; checked before anything starts.

Knows nothing of what is to listen.
"""

from __future__ import annotations

import errno
import os
import socket

from rwkv_rag.errors import Busy, InputError, Message, message, system_reason


def resolved(key: str, host: str) -> str:
    """The address `host` stands for. Raises InputError for an unknown name."""
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
    """Raise Busy where another program listens there, InputError where no program can."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as our servers do; on Windows it would allow two
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
            port2=_holder(port),
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


def _holder(port: int) -> Message:
    """The program that listens on `port`, as far as the system tells."""
    import psutil

    try:
        for each in psutil.net_connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid:
                name = psutil.Process(each.pid).name()
                return message("{program} (process {pid})", program=name, pid=each.pid)
    except (psutil.Error, OSError):
        pass
    return message("another program")
