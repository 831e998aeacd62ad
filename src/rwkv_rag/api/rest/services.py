"""`/api/services`: what runs, and restarts, where a supervisor runs the services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from rwkv_rag.api.dependencies import STREAMS, ClientDep, FormatDep
from rwkv_rag.api.problems import Problem
from rwkv_rag.api.responses import Step, StepsResponse, closing_iterator
from rwkv_rag.api.schemas import Reply, model_of
from rwkv_rag.errors import InputError
from rwkv_rag.i18n import _
from rwkv_rag.interfaces import Supervision
from rwkv_rag.types import ServiceStatus

router = APIRouter(prefix="/api/services", tags=["Services"])


Service = model_of(
    ServiceStatus, Reply, "Service", reason=(str, ...), queue=(dict[str, Any] | None, ...)
)


async def _supervision(client: ClientDep) -> Supervision:
    if client.supervision is None:
        error = InputError(
            "no services run here: this server does everything itself; start them with "
            "`rwkv-rag up`"
        )
        raise Problem(error, code="no_services", status=409)
    return client.supervision


SupervisionDep = Annotated[Supervision, Depends(_supervision)]


@router.get("", summary="What runs", response_model=list[Service])  # type: ignore[valid-type]
def services(supervision: SupervisionDep) -> list[dict[str, Any]]:
    """Every service with its queue and its workers."""
    return [_record(service) for service in supervision.status()]


@router.post(
    "/{service}/restart", summary="Restart a service", response_model=Service, responses=STREAMS
)
def restart(service: str, supervision: SupervisionDep, format: FormatDep) -> Response:
    """New workers take the place of its workers, which finish their requests first; new requests
    wait. Answers when it is ready, or sends its states on the way."""
    if service == "api":
        error = InputError("the API cannot restart itself; use `rwkv-rag restart api`")
        raise Problem(error, param="service", status=409)
    return StepsResponse(_restart_steps(supervision.restart(service)), format)


def _restart_steps(states: Iterator[ServiceStatus]) -> Iterator[Step]:
    with closing_iterator(states):
        for state in states:
            yield {"type": "service", **_record(state)}


def _record(service: ServiceStatus) -> dict[str, Any]:
    return {**asdict(service), "reason": _(service.reason)}
