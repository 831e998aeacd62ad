"""`ragq.yml`, and the ports it asks for. Knows no service."""

from __future__ import annotations

from collections.abc import Iterator

from rwkv_rag.config import file as files
from rwkv_rag.config.effective import Effective
from rwkv_rag.config.ragq import Ragq
from rwkv_rag.diagnosis.finding import Finding, fail, ok
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import N_
from rwkv_rag.processes import ports


def configuration(effective: Effective) -> Iterator[Finding]:
    """Where the settings come from; a file that could not be read never gets here."""
    if effective.file:
        yield ok("settings", N_("{file} can be used"), file=effective.file)
    else:
        yield ok("settings", N_("no ragq.yml; the defaults count"))


def free_ports(ragq: Ragq) -> Iterator[Finding]:
    """Whether `rwkv-rag up` could listen where it is to; who holds a port that is taken."""
    for key, port in files.ports(ragq):
        try:
            host = key.removesuffix("port") + "host"
            ports.check_free(key, ports.resolved(host, _host(ragq, key)), port)
        except RagError as error:
            yield fail("ports", N_("{why}"), why=error)
        else:
            yield ok("ports", N_("{port} is free ({key})"), port=port, key=key)


def _host(ragq: Ragq, key: str) -> str:
    """Where the port of this key is opened."""
    section, _, end = key.removesuffix(".port").partition(".")
    if end:
        return str(getattr(ragq.service(section), end).host)
    return ragq.api.host if section == "api" else "127.0.0.1"
