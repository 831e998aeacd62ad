"""The services of this home: whether they answer, or else whether they could be started."""

from __future__ import annotations

from collections.abc import Iterator

from rwkv_rag.config.ragq import Ragq
from rwkv_rag.diagnosis.configuration import free_ports
from rwkv_rag.diagnosis.finding import Finding, fail, ok, warn
from rwkv_rag.i18n import N_
from rwkv_rag.interfaces import Supervision
from rwkv_rag.types import ServiceStatus


def services(supervision: Supervision | None, ragq: Ragq) -> Iterator[Finding]:
    """Each service as its supervisor sees it; the ports they would need where none runs."""
    if supervision is None:
        yield ok("services", N_("none runs; every command does its work itself"))
        yield from free_ports(ragq)
        return
    for status in supervision.status():
        yield _service(status)


def _service(status: ServiceStatus) -> Finding:
    advice = N_("rwkv-rag restart {name}")
    values = {"name": status.name, "state": status.state, "address": status.address}
    if status.state in ("failed", "stopped"):
        text = N_("{name} ({state}): {why}")
        return fail("services", text, advice, **values, why=status.reason or "no reason was given")
    if status.state != "ready":
        return warn(
            "services", N_("{name} is not ready yet: {state}"), N_("rwkv-rag status"), **values
        )
    if status.queue is None:
        return ok("services", N_("{name} answers at {address}"), **values)
    workers = len(status.queue.workers)
    if not workers:
        return fail("services", N_("{name} has no worker"), advice, **values)
    text = N_("{name} answers, {workers} workers, {waiting} requests waiting")
    waiting = sum(status.queue.waiting.values())
    return ok("services", text, **values, workers=workers, waiting=waiting)
