"""The services of this home: whether they answer, or else whether they could be started."""

from __future__ import annotations

from collections.abc import Iterator

from rwkv_rag.config.ragq import Ragq
from rwkv_rag.diagnosis.finding import Finding, fail, ok, warn
from rwkv_rag.errors import Message, RagError
from rwkv_rag.i18n import N_
from rwkv_rag.interfaces import Supervision
from rwkv_rag.processes import ports
from rwkv_rag.types import ServiceStatus

RESTART = "rwkv-rag restart {name}"
UNKNOWN = Message(N_("no reason was given"))


def services(supervision: Supervision | None, ragq: Ragq) -> Iterator[Finding]:
    """Each service as its supervisor sees it; the ports they would need where none runs."""
    if supervision is None:
        yield ok("services", "none runs; every command does its work itself")
        yield from free_ports(ragq)
        return
    for status in supervision.status():
        yield _service(status)


def _service(status: ServiceStatus) -> Finding:
    name, state = status.name, Message(status.state)
    if status.state in ("failed", "stopped"):
        why = status.reason or UNKNOWN
        return fail("services", "{name} ({state}): {why}", RESTART, name=name, state=state, why=why)
    if status.state != "ready":
        return warn(
            "services",
            "{name} is not ready yet: {state}",
            "rwkv-rag status",
            name=name,
            state=state,
        )
    if status.queue is None:
        return ok("services", "{name} answers at {address}", name=name, address=status.address)
    if not status.queue.workers:
        return fail("services", "{name} has no worker", RESTART, name=name)
    return ok(
        "services",
        "{name} answers, {workers} workers, {waiting} requests waiting",
        name=name,
        workers=len(status.queue.workers),
        waiting=sum(status.queue.waiting.values()),
    )


def free_ports(ragq: Ragq) -> Iterator[Finding]:
    """Whether `rwkv-rag up` could listen where it is to; who holds a port that is taken."""
    for key, host, port in ragq.listens():
        try:
            ports.check_free(f"{key}.port", ports.resolved(f"{key}.host", host), port)
        except RagError as error:
            yield fail("ports", "{why}", why=error)
        else:
            yield ok("ports", "{port} is free ({key})", port=port, key=f"{key}.port")
