"""`/api/services`: what runs, and starting one of it anew, where a supervisor is in charge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from rwkv_rag.api.context import Context, Here
from rwkv_rag.api.faults import Refused
from rwkv_rag.api.flow import Step, close
from rwkv_rag.api.rest.documents import STREAMS, Accept, Streamed, form_of
from rwkv_rag.api.v1.shapes import Reply
from rwkv_rag.errors import InputError
from rwkv_rag.i18n import _
from rwkv_rag.interfaces import Supervision
from rwkv_rag.types import ServiceState, ServiceStatus

ITSELF = "api"

router = APIRouter(prefix="/api/services", tags=["Services"])


class Service(Reply):
    """A service as its supervisor sees it; `queue` has its waiting requests and its workers."""

    name: str
    state: ServiceState
    address: str
    restarts: int
    memory_bytes: int
    reason: str
    queue: dict[str, Any] | None


@router.get("", summary="What runs", response_model=list[Service])
def services(here: Here) -> list[dict[str, Any]]:
    """Every service with its queue and its workers."""
    return [_record(service) for service in _supervision(here).status()]


@router.post(
    "/{service}/restart", summary="Restart a service", response_model=Service, responses=STREAMS
)
def restart(
    service: str,
    here: Here,
    streamed: Streamed = False,
    accept: Accept = "",
) -> Response:
    """Its workers finish, end and start anew; its requests wait meanwhile. Answers when it is
    ready, or tells how far it is."""
    supervision = _supervision(here)
    if service == ITSELF:
        error = InputError("the API cannot restart itself; use `rwkv-rag restart api`")
        raise Refused(error, param="service", status=409)
    states = supervision.restart(service)
    steps = _steps(states, streamed=streamed)
    return here.flow(steps, form_of(accept, streamed=streamed))


def _supervision(here: Context) -> Supervision:
    if here.supervision is None:
        error = InputError(
            "no services run here: this server does everything itself; start them with "
            "`rwkv-rag up`"
        )
        raise Refused(error, code="no_services", status=409)
    return here.supervision


def _steps(states: Iterator[ServiceStatus], *, streamed: bool) -> Iterator[Step]:
    last: Step = None
    try:
        for state in states:
            last = _record(state)
            yield {"type": "service", **last} if streamed else None
        if not streamed:
            yield last
    finally:
        close(states)


def _record(service: ServiceStatus) -> dict[str, Any]:
    record = {**asdict(service), "reason": _(service.reason)}
    if service.queue is not None:
        queue = service.queue
        record["queue"] = {
            **record["queue"],
            "waiting": dict(queue.waiting),
            "latency_s": dict(queue.latency_s),
        }
    return record
