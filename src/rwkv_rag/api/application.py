"""The API put together: routes, errors, gate, figures. Opens and closes nothing itself."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from rwkv_rag import __version__
from rwkv_rag.api import health, page
from rwkv_rag.api.context import Context
from rwkv_rag.api.faults import (
    ErrorBody,
    Fault,
    Refused,
    fault_of,
    fault_of_fields,
    fault_of_status,
)
from rwkv_rag.api.gate import Gate, refusal
from rwkv_rag.api.json import Json
from rwkv_rag.api.language import language_of
from rwkv_rag.api.measures import Measured
from rwkv_rag.api.rest import asking, bases, documents, services, tuning
from rwkv_rag.api.v1 import chat, models, vectors
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import in_language

SHORT_REQUESTS = 64
"""Threads for requests that are answered in one go; streams have their own (`flow.Slots`)."""

ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorBody, "description": "What is wrong, in OpenAI's shape."}
}
DESCRIPTION = """Ask your own documents, with every quote checked.

`/v1` speaks OpenAI's protocol: chat (a knowledge base is part of the model's name), embeddings, and
rerank. `/api` is for everything else. Messages are English or Chinese, by `Accept-Language`."""

_log = logging.getLogger(__name__)


def create(context: Context) -> FastAPI:
    """The application of one server."""
    app = FastAPI(
        title="RWKV-RAG",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # theirs loads its scripts from the network
        redoc_url=None,
        default_response_class=Json,
        responses=ERRORS,
        lifespan=_lifespan,
        separate_input_output_schemas=False,
    )
    app.state.context = context
    for room in (chat, models, vectors, bases, documents, asking, tuning, services, health, page):
        app.include_router(room.router)
    _answer_errors(app)
    app.add_middleware(Gate, options=context.options, language=context.language)
    app.add_middleware(Measured, measures=context.measures)  # the outermost: it counts refusals too
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = SHORT_REQUESTS
    yield
    app.state.context.readiness.close()


def _answer_errors(app: FastAPI) -> None:
    async def ours(request: Request, error: Exception) -> Response:
        return _told(request, fault_of(error))

    async def fields(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _told(request, fault_of_fields(error.errors()))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _told(request, fault_of_status(error.status_code, error.headers))

    async def mistake(request: Request, error: Exception) -> Response:
        _log.error("a mistake in %s %s", request.method, request.url.path, exc_info=error)
        return _told(request, fault_of(error))

    for kind in (RagError, Refused):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(RequestValidationError, fields)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, mistake)


def _told(request: Request, fault: Fault) -> Response:
    context: Context = request.app.state.context
    with in_language(language_of(request.headers.get("accept-language"), context.language)):
        return refusal(fault)
