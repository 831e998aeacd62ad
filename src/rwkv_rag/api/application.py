"""The FastAPI application: routes, error handlers, middleware. Opens and closes nothing itself."""

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
from rwkv_rag.api import docs_page, health
from rwkv_rag.api.dependencies import Context
from rwkv_rag.api.middleware import RequestMiddleware
from rwkv_rag.api.monitoring import Metrics, MetricsMiddleware, Readiness
from rwkv_rag.api.options import Options
from rwkv_rag.api.problems import ErrorBody, Problem, problem_of
from rwkv_rag.api.responses import Json, problem_response
from rwkv_rag.api.rest import documents, knowledge, services, tuning
from rwkv_rag.api.v1 import chat, models, vectors
from rwkv_rag.client import Client
from rwkv_rag.config import Settings
from rwkv_rag.errors import RagError

REQUEST_THREADS = 64
"""Threads for requests that are answered in one go; streams have their own (`responses`)."""

ROUTES = (chat, models, vectors, knowledge, documents, tuning, services, health, docs_page)
ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorBody, "description": "What is wrong, in OpenAI's shape."}
}
DESCRIPTION = """Ask your own documents, with every quote checked.

`/v1` speaks OpenAI's protocol: chat (a knowledge base is part of the model's name), embeddings, and
rerank. `/api` is for everything else. Messages are English or Chinese, by `Accept-Language`."""

_log = logging.getLogger(__name__)


def create(settings: Settings, options: Options, client: Client) -> FastAPI:
    """The application over an open client."""
    app = FastAPI(
        title="RWKV-RAG",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's page loads its scripts from the network
        redoc_url=None,
        default_response_class=Json,
        responses=ERRORS,
        lifespan=_lifespan,
        separate_input_output_schemas=False,
    )
    metrics = Metrics(client.supervision)
    app.state.context = Context(client, options, settings.home, metrics, Readiness(client))
    for module in ROUTES:
        app.include_router(module.router)
    for kind in (RagError, Problem, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer_error)
    app.add_exception_handler(Exception, _answer_unexpected)
    app.add_middleware(RequestMiddleware, options=options, language=settings.language)
    app.add_middleware(MetricsMiddleware, metrics=metrics)  # the outermost: it counts refusals too
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    to_thread.current_default_thread_limiter().total_tokens = REQUEST_THREADS
    yield
    app.state.context.readiness.close()


async def _answer_error(_: Request, error: Exception) -> Response:
    return problem_response(problem_of(error))


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    _log.error("a mistake in %s %s", request.method, request.url.path, exc_info=error)
    return problem_response(problem_of(error))
