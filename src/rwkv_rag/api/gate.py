"""Who may come in: host and origin, token, size. Plain ASGI, before anything is read or routed.

Host     on loopback only this machine's names: a web page whose name is made to point here
         (DNS rebinding) is turned away
Origin   a browser says which page asks; only our own may, where no token protects
token    compared in constant time; `/health`, `/ready` and the descriptions need none
size     of the body, as announced and as it arrives
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rwkv_rag.api.faults import Fault, Refused, fault_of
from rwkv_rag.api.language import language_of
from rwkv_rag.api.options import Options, is_loopback
from rwkv_rag.errors import InputError, NotAllowed, RagError
from rwkv_rag.i18n import in_language
from rwkv_rag.types import Language

OPEN = frozenset({"/", "/docs", "/health", "/ready", "/openapi.json"})


class Gate:
    """Passes a request on to `app` in the language of its caller, or refuses it."""

    def __init__(self, app: ASGIApp, options: Options, language: Language) -> None:
        self._app = app
        self._options = options
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        with in_language(language_of(headers.get("accept-language"), self._language)):
            try:
                limit = self._checked(scope["path"], headers)
            except (Refused, RagError) as error:
                await refusal(fault_of(error))(scope, receive, send)
                return
            await self._app(scope, _Limited(receive, limit), send)

    def _checked(self, path: str, headers: Headers) -> int:
        """The most bytes this request may have. Raises what is wrong with it."""
        options = self._options
        if not options.token:
            _check_host(headers.get("host", ""), options)
            _check_origin(headers)
        elif path not in OPEN:
            _check_token(headers.get("authorization", ""), options.token)
        form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        limit = options.upload_bytes if form else options.json_bytes
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(limit)
        return limit


class _Limited:
    """Receives a body up to a limit, however long it claims to be."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            # The one exception that no reader of a body takes for its own.
            raise HTTPException(413, str(_too_large(self._limit)))
        return message


def refusal(fault: Fault) -> JSONResponse:
    """A fault as a response."""
    return JSONResponse(fault.body(), fault.status, dict(fault.headers))


def _too_large(limit: int) -> Refused:
    error = InputError(
        "the request is larger than {limit:,} bytes, the limit here; send less", limit=limit
    )
    return Refused(error, code="too_large", status=413)


def _check_host(host: str, options: Options) -> None:
    name = _name(host)
    if not is_loopback(name) and name not in options.hosts:
        error = NotAllowed(
            "this server does not answer to the name {name!r}; use 127.0.0.1", name=name
        )
        raise Refused(error, code="wrong_host", status=403)


def _check_origin(headers: Mapping[str, str]) -> None:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        error = NotAllowed(
            "pages of {origin!r} may not use this server; call it from a program", origin=origin
        )
        raise Refused(error, code="wrong_origin", status=403)


def _check_token(authorization: str, token: str) -> None:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise NotAllowed("this server needs a token; send it as Authorization: Bearer TOKEN")
    if not secrets.compare_digest(given.strip().encode(), token.encode()):
        raise NotAllowed("the token is not this server's; see HOME/keys/api.token there")


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0].strip("[").lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()
