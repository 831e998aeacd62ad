"""`ragq.yml`, and the ports it asks for. Knows no service."""

from __future__ import annotations

from collections.abc import Iterator

from rwkv_rag.config import file as files
from rwkv_rag.config.effective import Effective
from rwkv_rag.config.ragq import Ragq
from rwkv_rag.diagnosis import ports
from rwkv_rag.diagnosis.finding import Finding, fail, ok


def configuration(effective: Effective) -> Iterator[Finding]:
    """Where the settings come from; a file that could not be read never gets here."""
    if effective.file:
        yield ok("settings", "{file} can be used", file=effective.file)
    else:
        yield ok("settings", "no ragq.yml; the defaults count")


def free_ports(ragq: Ragq) -> Iterator[Finding]:
    """Whether `rwkv-rag up` could listen where it is to."""
    for key, port in files.ports(ragq):
        host = _host(ragq, key)
        if ports.is_free(host, port):
            yield ok("ports", "{port} is free ({key})", port=port, key=key)
        elif who := ports.holder(port):
            mend = "end that program, or choose another port as {key} in ragq.yml"
            yield fail("ports", "{port} is held by {who}", mend, port=port, who=who, key=key)
        else:
            mend = "choose another port as {key} in ragq.yml"
            said = "{host}:{port} cannot be listened on; another user's program may hold it"
            yield fail("ports", said, mend, host=host, port=port, key=key)


def _host(ragq: Ragq, key: str) -> str:
    """Where the port of this key is opened."""
    section, _, end = key.removesuffix(".port").partition(".")
    if end:
        host = getattr(ragq.service(section), end).host
        return "0.0.0.0" if host == "*" else str(host)
    return ragq.api.host if section == "api" else "127.0.0.1"
