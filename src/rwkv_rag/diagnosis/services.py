"""The services of this home: whether they answer, or else whether they could be started."""

from __future__ import annotations

from collections.abc import Iterator

from rwkv_rag.config.ragq import Ragq
from rwkv_rag.diagnosis.configuration import free_ports
from rwkv_rag.diagnosis.finding import Finding, fail, ok, warn
from rwkv_rag.interfaces import Supervision
from rwkv_rag.types import ServiceStatus


def services(supervision: Supervision | None, ragq: Ragq) -> Iterator[Finding]:
    """Each service as its supervisor sees it; the ports they would need where none runs."""
    if supervision is None:
        yield ok("services", "none runs; every command does its work itself")
        yield from free_ports(ragq)
        return
    for status in supervision.status():
        yield _service(status)


def _service(status: ServiceStatus) -> Finding:
    mend = "rwkv-rag restart {name}"
    values = {"name": status.name, "state": status.state, "address": status.address}
    if status.state in ("failed", "stopped"):
        said = "{name} ({state}): {why}"
        return fail("services", said, mend, **values, why=status.reason or "no reason was given")
    if status.state != "ready":
        return warn("services", "{name} is not ready yet: {state}", "rwkv-rag status", **values)
    if status.queue is None:
        return ok("services", "{name} answers at {address}", **values)
    workers = len(status.queue.workers)
    if not workers:
        return fail("services", "{name} has no worker", mend, **values)
    said = "{name} answers, {workers} workers, {waiting} requests waiting"
    waiting = sum(status.queue.waiting.values())
    return ok("services", said, **values, workers=workers, waiting=waiting)
