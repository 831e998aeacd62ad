"""`/health`, `/ready` and `/metrics`: for whoever watches the server.

`/health` says that the process lives and asks nobody. `/ready` asks the services, all at once and
with a limit, and at most one such round is under way, however many ask.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response

from rwkv_rag.api.context import Here
from rwkv_rag.api.json import Json
from rwkv_rag.api.v1.shapes import Reply
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
    """Asks nobody else."""
    return {"status": "ok"}


@router.get(
    "/ready",
    summary="The services answer",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Not yet; see the reasons."}},
)
def ready(here: Here) -> Response:
    """200 as soon as all of them do, 503 with the reasons until then."""
    found = here.readiness.look()
    said = {name: _(error) if error else "ok" for name, error in found.items()}
    fine = not any(found.values())
    body: dict[str, Any] = {"ready": fine, "services": said}
    return Json(body, 200 if fine else 503, {} if fine else {"Retry-After": "1"})


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics(here: Here) -> Response:
    """Requests, times, tokens, and the queues of the services."""
    return Response(here.measures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
