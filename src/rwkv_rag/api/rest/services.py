"""`/api/services`: what runs, and restarts, where a supervisor runs the services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from rwkv_rag.api.context import Context, ContextDep
from rwkv_rag.api.problems import Problem
from rwkv_rag.api.responses import Step, StepsResponse, closing_iterator
from rwkv_rag.api.rest.documents import STREAMS, Accept, Streamed, format_of
from rwkv_rag.api.schemas import Reply, model_of
from rwkv_rag.errors import InputError
from rwkv_rag.i18n import _
from rwkv_rag.interfaces import Supervision
from rwkv_rag.types import ServiceStatus

router = APIRouter(prefix="/api/services", tags=["Services"])


Service = model_of(
    ServiceStatus, Reply, "Service", reason=(str, ...), queue=(dict[str, Any] | None, ...)
)


@router.get("", summary="What runs", response_model=list[Service])  # type: ignore[valid-type]
def services(context: ContextDep) -> list[dict[str, Any]]:
    """Every service with its queue and its workers."""
    return [_record(service) for service in _supervision(context).status()]


@router.post(
    "/{service}/restart", summary="Restart a service", response_model=Service, responses=STREAMS
)
def restart(
    service: str, context: ContextDep, streamed: Streamed = False, accept: Accept = ""
) -> Response:
    """Its workers finish, end and start anew; its requests wait meanwhile. Answers when it is
    ready, or sends its states on the way."""
    supervision = _supervision(context)
    if service == "api":
        error = InputError("the API cannot restart itself; use `rwkv-rag restart api`")
        raise Problem(error, param="service", status=409)
    steps = _restart_steps(supervision.restart(service), streamed=streamed)
    return StepsResponse(steps, format_of(accept, streamed=streamed))


def _supervision(context: Context) -> Supervision:
    supervision = context.client.supervision
    if supervision is None:
        error = InputError(
            "no services run here: this server does everything itself; start them with "
            "`rwkv-rag up`"
        )
        raise Problem(error, code="no_services", status=409)
    return supervision


def _restart_steps(states: Iterator[ServiceStatus], *, streamed: bool) -> Iterator[Step]:
    last: Step = None
    with closing_iterator(states):
        for state in states:
            last = _record(state)
            yield {"type": "service", **last} if streamed else None
        if not streamed:
            yield last


def _record(service: ServiceStatus) -> dict[str, Any]:
    return {**asdict(service), "reason": _(service.reason)}
