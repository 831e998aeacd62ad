"""One shape for every error, one table of statuses, two languages."""

from __future__ import annotations

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError

from rwkv_rag import errors
from rwkv_rag.api.problems import (
    STATUS,
    Problem,
    problem_of,
)
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import _, in_language

KINDS = [each for each in vars(errors).values() if isinstance(each, type)]


@pytest.mark.parametrize("kind", [each for each in KINDS if issubclass(each, RagError)])
def test_every_error_has_a_status_and_its_code_reaches_the_client(kind: type[RagError]) -> None:
    problem = problem_of(kind("what happened"))
    assert problem.status == STATUS[kind] != 500
    assert 400 <= problem.status < 600
    assert problem.body()["error"]["code"] == kind.code
    assert problem.body()["error"]["message"] == "what happened"
    busy = issubclass(kind, (errors.Busy, errors.Unreachable, errors.WorkerLost))
    assert ("Retry-After" in problem.headers) == busy


def test_an_error_of_a_later_version_is_as_its_nearest_relative() -> None:
    class Newer(errors.NotFound):
        code = "newer"

    assert problem_of(Newer("x")).status == 404


def test_what_is_not_ours_tells_nothing_of_itself() -> None:
    problem = problem_of(KeyError("secret"))
    assert (problem.status, problem.code) == (500, "internal")
    assert "secret" not in str(problem.body())


def test_a_refusal_names_field_code_and_status() -> None:
    error = Problem(errors.NotFound("no"), param="model", code="model_not_found")
    assert problem_of(error).body()["error"] == {
        "message": "no",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
        "template": "no",
        "values": {},
    }


def test_the_template_and_its_values_reach_the_client_too() -> None:
    reason = errors.system_reason(PermissionError(13, "Permission denied"))
    error = errors.InputError("{path} cannot be read: {reason}", path="a.md", reason=reason)
    with in_language("zh"):
        told = problem_of(error).body()["error"]
    assert told["message"] == "a.md 无法读取：没有权限"
    assert told["template"] == "{path} cannot be read: {reason}"
    assert told["values"] == {
        "path": "a.md",
        "reason": {"template": "Permission denied", "values": {}},
    }


class Inner(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    count: int | None = None
    either: str | list[str] = ""


class Outer(BaseModel):
    model_config = ConfigDict(strict=True)
    inner: list[Inner]


@pytest.mark.parametrize(
    ("value", "param", "expected"),
    [
        ({}, "inner", "this field is required"),
        ({"inner": [{}, {"count": "1"}]}, "inner[1].count", "give a whole number"),
        ({"inner": [{"cuont": 1}]}, "inner[0].cuont", "there is no such field"),
        ({"inner": [{"either": 3}]}, "inner[0].either", "give a text"),
        ({"inner": 3}, "inner", "give a list"),
    ],
)
def test_a_field_is_named_by_its_path(value: object, param: str, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    problems = [{**each, "loc": ("body", *each["loc"])} for each in caught.value.errors()]
    problem = problem_of(RequestValidationError(problems))
    assert (problem.status, problem.param) == (400, param)
    assert str(problem.error) == f"{param}: {expected}"
    with in_language("zh"):
        assert not any("a" <= c <= "z" for c in _(expected))
