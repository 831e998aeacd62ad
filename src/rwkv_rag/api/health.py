"""`/health`, `/ready` and `/metrics`: for the monitoring of the server.

`/health` says that the process lives and asks no service. `/ready` asks all services at once, with
a time limit; see `monitoring`.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response

from rwkv_rag.api.dependencies import ContextDep
from rwkv_rag.api.responses import Json
from rwkv_rag.api.schemas import Reply
from rwkv_rag.i18n import _

router = APIRouter(tags=["Health"])


class Alive(Reply):
    """The process answers."""

    status: Literal["ok"]


class Ready(Reply):
    """What each service says: "ok", or why not."""

    ready: bool
    services: dict[str, str]


@router.get("/health", summary="The process lives", response_model=Alive)
async def health() -> dict[str, str]:
    """Asks no service."""
    return {"status": "ok"}


@router.get(
    "/ready",
    summary="The services answer",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not yet; see the reasons."}},
)
def ready(context: ContextDep) -> Response:
    """200 as soon as all of them do, 503 with the reasons until then."""
    found = context.readiness.check()
    services = {name: _(error) if error else "ok" for name, error in found.items()}
    is_ready = not any(found.values())
    body = {"ready": is_ready, "services": services}
    return Json(body) if is_ready else Json(body, 503, {"Retry-After": "1"})


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics(context: ContextDep) -> Response:
    """Requests, times, tokens, and the queues of the services."""
    return Response(context.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
