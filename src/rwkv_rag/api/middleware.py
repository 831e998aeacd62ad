"""Language, access and size of a request, as plain ASGI before anything is read or routed.

language   of error messages and other texts, by Accept-Language
Host       on loopback only names of this machine: a web page whose domain name is made to point
           here (DNS rebinding) is refused
Origin     sent by browsers; without a token, pages of other origins are refused
token      compared in constant time; `/health`, `/ready` and the descriptions need none
size       of the body, as announced and as it arrives

Starlette's TrustedHostMiddleware knows neither IPv6 addresses nor all of 127.0.0.0/8.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import get_args

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rwkv_rag.api.options import Options, is_loopback
from rwkv_rag.api.problems import Problem, problem_of
from rwkv_rag.api.responses import problem_response
from rwkv_rag.errors import InputError, NotAllowed, RagError
from rwkv_rag.i18n import set_language
from rwkv_rag.types import Language

NO_TOKEN = frozenset({"/", "/docs", "/health", "/ready", "/openapi.json"})


class RequestMiddleware:
    """Sets the language of a request, checks it, and passes it on or refuses it."""

    def __init__(self, app: ASGIApp, options: Options, language: Language) -> None:
        self._app = app
        self._options = options
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Not reset: each request is a task with a context of its own, and the handler of
        # unexpected exceptions, outside of this middleware, needs the language too.
        set_language(accepted_language(headers.get("accept-language", ""), self._language))
        try:
            limit = self._checked(scope["path"], headers)
        except (Problem, RagError) as error:
            await problem_response(problem_of(error))(scope, receive, send)
            return
        await self._app(scope, _LimitedBody(receive, limit), send)

    def _checked(self, path: str, headers: Headers) -> int:
        """The most bytes this request may have. Raises what is wrong with it."""
        options = self._options
        if not options.token:
            _check_host(headers.get("host", ""), options)
            _check_origin(headers)
        elif path not in NO_TOKEN:
            _check_token(headers.get("authorization", ""), options.token)
        form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        limit = options.upload_bytes if form else options.json_bytes
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            error = InputError(
                "the request is larger than {limit:,} bytes, the limit here; send less", limit=limit
            )
            raise Problem(error, code="too_large", status=413)
        return limit


class _LimitedBody:
    """Receives a body up to a limit, whatever its Content-Length says."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            # The one exception that FastAPI's body parsers do not turn into one of their own.
            raise HTTPException(413)
        return message


def accepted_language(header: str, default: Language) -> Language:
    """The supported language with the highest weight in Accept-Language, else `default`."""
    best, found = 0.0, default
    for part in header.split(",")[:32]:
        tag, _, weight = part.strip().lower().partition(";q=")
        for language in get_args(Language):
            if tag.split("-")[0] == language and (quality := _quality(weight or "1")) > best:
                best, found = quality, language
    return found


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 <= quality <= 1 else 0.0


def _check_host(header: str, options: Options) -> None:
    name = _host_name(header)
    if not is_loopback(name) and name not in options.hosts:
        error = NotAllowed(
            "this server does not answer to the name {name!r}; use 127.0.0.1", name=name
        )
        raise Problem(error, code="wrong_host", status=403)


def _check_origin(headers: Mapping[str, str]) -> None:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        error = NotAllowed(
            "pages of {origin!r} may not use this server; call it from a program", origin=origin
        )
        raise Problem(error, code="wrong_origin", status=403)


def _check_token(authorization: str, token: str) -> None:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise NotAllowed("this server needs a token; send it as Authorization: Bearer TOKEN")
    if not secrets.compare_digest(given.strip().encode(), token.encode()):
        raise NotAllowed("the token is not this server's; see HOME/keys/api.token there")


def _host_name(header: str) -> str:
    """The name in a Host header, without the port."""
    if header.startswith("["):
        return header.partition("]")[0].strip("[").lower()
    return header.rpartition(":")[0].lower() if header.count(":") == 1 else header.lower()
