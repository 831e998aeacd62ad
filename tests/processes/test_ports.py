"""Whether an address can be listened on, and who does if not."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from rwkv_rag.errors import Busy, InputError
from rwkv_rag.processes import ports

from .running import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_can_be_had_and_stays_free() -> None:
    port = free_port()
    ports.check_free("ui.port", "127.0.0.1", port)
    ports.check_free("ui.port", "127.0.0.1", port)


def test_who_has_a_port_is_named(taken: int) -> None:
    name = psutil.Process().name()
    said = (
        rf"port {taken} \(ui\.port\) is taken by {name} \(process {os.getpid()}\); choose another"
    )
    with pytest.raises(Busy, match=said):
        ports.check_free("ui.port", "127.0.0.1", taken)


def test_who_has_a_port_may_be_nobody_we_may_know(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    with pytest.raises(Busy, match=r"is taken by another program; choose another with ui\.port"):
        ports.check_free("ui.port", "127.0.0.1", taken)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match=r"api\.host is 192\.0\.2\.1, which is no address of this"):
        ports.check_free("api.port", "192.0.2.1", free_port())


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "1.2.3.4.5"])
def test_a_host_nobody_knows_is_named(host: str) -> None:
    with pytest.raises(InputError, match="this machine knows no such host"):
        ports.resolved("llm.front_end.host", host)


def test_names_become_addresses() -> None:
    assert ports.resolved("x", "localhost") in ("127.0.0.1", "::1")
    assert ports.resolved("x", "*") == "0.0.0.0"
    assert (ports.reachable("0.0.0.0"), ports.reachable("10.0.0.7")) == ("127.0.0.1", "10.0.0.7")
