"""`ragq.yml`, and the ports it asks for. Knows no service."""

from __future__ import annotations

from collections.abc import Iterator

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
    for key, host, port in ragq.listens():
        try:
            ports.check_free(f"{key}.port", ports.resolved(f"{key}.host", host), port)
        except RagError as error:
            yield fail("ports", N_("{why}"), why=error)
        else:
            yield ok("ports", N_("{port} is free ({key})"), port=port, key=f"{key}.port")
