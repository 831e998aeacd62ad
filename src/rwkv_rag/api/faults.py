"""Errors as the clients see them: one shape, one table from class to status, two languages.

{"error": {"message": …, "type": …, "param": …, "code": …}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from rwkv_rag import errors
from rwkv_rag.errors import Message, RagError, message
from rwkv_rag.i18n import _
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
AGAIN: Mapping[type[RagError], int] = {  # seconds after which it is worth trying again
    errors.Busy: 1,
    errors.Unreachable: 5,
    errors.WorkerLost: 1,
}
TYPES: Mapping[int, str] = {401: "authentication_error", 403: "permission_error"}
CODES: Mapping[int, str] = {  # of refusals that have no class of ours
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
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


class Refused(Exception):
    """An error of ours that names a field of the request, or has a status or code of its own."""

    def __init__(
        self, error: RagError, *, param: str | None = None, code: str = "", status: int = 0
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.param = param
        self.code = code or error.code
        self.status = status or status_of(error)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as a response: its text, and what HTTP needs beside it."""

    status: int
    message: Message
    code: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON object in OpenAI's shape, in the current language."""
        server = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": _(self.message),
                "type": TYPES.get(self.status, server),
                "param": self.param,
                "code": self.code,
                **self.message.json(),
            }
        }


def status_of(error: RagError) -> int:
    """The status of the nearest class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def fault_of(error: Exception) -> Fault:
    """What a client is told of an exception; of what is not ours, nothing that was in it."""
    if isinstance(error, Refused):
        return Fault(
            error.status, error.error.message, error.code, error.param, _headers(error.error)
        )
    if isinstance(error, RagError):
        return Fault(status_of(error), error.message, error.code, headers=_headers(error))
    return Fault(500, message("a mistake in the program; its log says more"), "internal")


def fault_of_status(status: int, headers: Mapping[str, str] | None = None) -> Fault:
    """What a client is told where the web framework itself refuses."""
    said = {
        404: message("there is nothing at this address; see /docs"),
        405: message("this address does not take that method; see /docs"),
        413: message("the request is too large"),
    }
    text = said.get(status, message("the request cannot be read"))
    code = CODES.get(status, "input" if status < 500 else "internal")
    return Fault(status, text, code, headers=dict(headers or {}))


def fault_of_fields(problems: Sequence[Mapping[str, Any]]) -> Fault:
    """What a client is told of a request that does not fit its schema: the first problem."""
    problem = problems[0] if problems else {"type": "", "loc": ()}
    param = _path(problem["loc"])
    nothing = not param and problem["type"] == "missing"
    text = message("the body is missing") if nothing else problem_text(problem)
    if param:
        text = message("{param}: {problem}", param=param, problem=text)
    return Fault(400, text, "input", param or None)


def _headers(error: RagError) -> dict[str, str]:
    again = next((AGAIN[kind] for kind in type(error).__mro__ if kind in AGAIN), 0)
    found = {"Retry-After": str(again)} if again else {}
    if isinstance(error, errors.NotAllowed):
        found["WWW-Authenticate"] = "Bearer"
    return found


def _path(place: Sequence[str | int]) -> str:
    """`messages[0].content`; where the value is one of several kinds, without the kind."""
    if place and place[0] in ("body", "query", "path", "header"):
        place = place[1:]
    path = ""
    for step in place:
        if isinstance(step, int):
            path += f"[{step}]" if path else ""
        elif step.isidentifier() and step not in ("str", "int", "float", "bool"):
            path += f".{step}" if path and step[0].islower() else step if not path else ""
    return path
