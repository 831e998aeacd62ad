"""Errors as HTTP responses: one JSON shape, one table from exception class to status.

{"error": {"message": …, "type": …, "param": …, "code": …, "template": …, "values": …}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from rwkv_rag import errors
from rwkv_rag.errors import InputError, RagError, message
from rwkv_rag.i18n import N_, _
from rwkv_rag.validation import problem_text

STATUS: Mapping[type[RagError], int] = {
    errors.InputError: 400,
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.UnreadableDocument: 422,
    errors.UnsupportedModel: 422,
    errors.ModelMismatch: 409,
    errors.CorruptData: 503,
    errors.MissingExtra: 501,
    errors.TuningFailed: 409,
    errors.Busy: 503,
    errors.ServiceError: 502,
    errors.Unreachable: 503,
    errors.DeadlineExceeded: 504,
    errors.WorkerLost: 503,
    errors.NotAllowed: 401,
    errors.BadMessage: 502,
    errors.Internal: 502,
    RagError: 502,
}
RETRY_AFTER_S: Mapping[type[RagError], int] = {
    errors.Busy: 1,
    errors.Unreachable: 5,
    errors.WorkerLost: 1,
}
TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error"}
FRAMEWORK: Mapping[int, tuple[str, str]] = {  # code and text where the web framework refuses
    403: ("forbidden", N_("the request cannot be read")),
    404: ("not_found", N_("there is nothing at this address; see /docs")),
    405: ("method_not_allowed", N_("this address does not take that method; see /docs")),
    413: ("too_large", N_("the request is too large")),
    415: ("unsupported_media_type", N_("the request cannot be read")),
}


class ErrorDetail(BaseModel):
    """`param` names the wrong field; `code` is stable, for programs.

    `message` is in the language that was asked for; `template` is the English text with named
    placeholders, `values` fills them. A value that is a text of its own has both again.
    """

    message: str
    type: str
    param: str | None
    code: str
    template: str
    values: dict[str, Any]


class ErrorBody(BaseModel):
    """Every error of this server."""

    error: ErrorDetail


class Problem(Exception):
    """An error with what HTTP needs beside it; raise it to name a field, a code or a status.

    param       the field of the request that is wrong
    code        stable, for programs; the error's own if not given
    status      that of the error's class if not given
    """

    def __init__(
        self,
        error: RagError,
        *,
        param: str | None = None,
        code: str = "",
        status: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.param = param
        self.code = code or error.code
        self.status = status or _of_class(error, STATUS) or 502
        self.headers = {**_headers(error), **(headers or {})}

    def body(self) -> dict[str, Any]:
        """The JSON object in OpenAI's shape, in the current language."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": _(self.error),
                "type": TYPES.get(self.status, kind),
                "param": self.param,
                "code": self.code,
                **self.error.message.json(),
            }
        }


def problem_of(error: Exception) -> Problem:
    """Any exception as a response. Of an unexpected one, nothing that was in it is shown."""
    match error:
        case Problem():
            return error
        case RagError():
            return Problem(error)
        case RequestValidationError():
            return _of_fields(error.errors())
        case HTTPException():
            return _of_framework(error)
    return Problem(errors.Internal("a mistake in the program; its log says more"), status=500)


def _of_framework(error: HTTPException) -> Problem:
    code = "input" if error.status_code < 500 else "internal"
    code, text = FRAMEWORK.get(error.status_code, (code, "the request cannot be read"))
    return Problem(InputError(text), code=code, status=error.status_code, headers=error.headers)


def _of_fields(found: Sequence[Mapping[str, Any]]) -> Problem:
    """The first of pydantic's problems with a request."""
    first = found[0] if found else {"type": "", "loc": ()}
    param = _path(first["loc"])
    missing = not param and first["type"] == "missing"
    text = message("the body is missing") if missing else problem_text(first)
    if param:
        text = message("{param}: {problem}", param=param, problem=text)
    return Problem(InputError(text), param=param or None)


def _of_class(error: RagError, table: Mapping[type[RagError], int]) -> int:
    """What a table says of the error's class or its nearest base class; else 0."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), 0)


def _headers(error: RagError) -> dict[str, str]:
    retry_after_s = _of_class(error, RETRY_AFTER_S)
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
    if isinstance(error, errors.NotAllowed):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _path(place: Sequence[str | int]) -> str:
    """`messages[0].content`; where the value is one of several types, without the type."""
    if place and place[0] in ("body", "query", "path", "header"):
        place = place[1:]
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]" if path else ""
        elif step.isidentifier() and step not in ("str", "int", "float", "bool"):
            path += f".{step}" if path and step[0].islower() else step if not path else ""
    return path
