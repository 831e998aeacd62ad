"""What every endpoint works with; an endpoint declares `context: ContextDep` to get it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from rwkv_rag.api.monitoring import Metrics, Readiness
from rwkv_rag.api.options import Options
from rwkv_rag.client import Client


@dataclass(frozen=True, slots=True)
class Context:
    """One server: the objects of its home, its options and its figures."""

    client: Client
    options: Options
    home: Path
    metrics: Metrics
    readiness: Readiness


async def _context(request: Request) -> Context:  # a coroutine, so that it needs no thread
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(_context)]
