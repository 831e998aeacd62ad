"""What endpoints declare as parameters: `client: ClientDep`, `context: ContextDep` for more, and
the format of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request

from rwkv_rag.api.monitoring import Metrics, Readiness
from rwkv_rag.api.options import Options
from rwkv_rag.api.responses import EVENTS, LINES, Format
from rwkv_rag.client import Client

STREAMS: dict[int | str, dict[str, Any]] = {  # for the description of an endpoint
    200: {
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}},
            "text/event-stream": {"schema": {"type": "string"}},
        }
    }
}


@dataclass(frozen=True, slots=True)
class Context:
    """One server: the objects of its home, its options and its figures."""

    client: Client
    options: Options
    home: Path
    metrics: Metrics
    readiness: Readiness


def format_of(accept: str, *, stream: bool) -> Format | None:
    """Lines of JSON, or server-sent events for clients that accept them; None: one JSON object."""
    if not stream:
        return None
    return EVENTS if EVENTS.media_type in accept.lower() else LINES


Accept = Annotated[str, Header(include_in_schema=False)]
Stream = Annotated[bool, Query(description="Send the progress (NDJSON, or SSE by Accept).")]


# Coroutines, so that FastAPI runs them without a thread.
async def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


async def _client(request: Request) -> Client:
    client: Client = request.app.state.context.client
    return client


async def _format(stream: Stream = False, accept: Accept = "") -> Format | None:
    return format_of(accept, stream=stream)


ContextDep = Annotated[Context, Depends(_context)]
ClientDep = Annotated[Client, Depends(_client)]
FormatDep = Annotated[Format | None, Depends(_format)]
