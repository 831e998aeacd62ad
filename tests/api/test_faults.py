"""One shape for every error, one table of statuses, two languages."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from rwkv_rag import errors
from rwkv_rag.api.faults import (
    STATUS,
    Refused,
    fault_of,
    fault_of_fields,
    status_of,
)
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import _, in_language

KINDS = [each for each in vars(errors).values() if isinstance(each, type)]


@pytest.mark.parametrize("kind", [each for each in KINDS if issubclass(each, RagError)])
def test_every_error_has_a_status_and_its_code_reaches_the_client(kind: type[RagError]) -> None:
    fault = fault_of(kind("what happened"))
    assert fault.status == STATUS[kind] != 500
    assert 400 <= fault.status < 600
    assert fault.body()["error"]["code"] == kind.code
    assert fault.body()["error"]["message"] == "what happened"
    busy = issubclass(kind, (errors.Busy, errors.Unreachable, errors.WorkerLost))
    assert ("Retry-After" in fault.headers) == busy


def test_an_error_of_a_later_version_is_as_its_nearest_relative() -> None:
    class Newer(errors.NotFound):
        code = "newer"

    assert status_of(Newer("x")) == 404


def test_what_is_not_ours_tells_nothing_of_itself() -> None:
    fault = fault_of(KeyError("secret"))
    assert (fault.status, fault.code) == (500, "internal")
    assert "secret" not in str(fault.body())


def test_a_refusal_names_field_code_and_status() -> None:
    error = Refused(errors.NotFound("no"), param="model", code="model_not_found")
    assert fault_of(error).body()["error"] == {
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
        told = fault_of(error).body()["error"]
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
    ("value", "param", "said"),
    [
        ({}, "inner", "this field is required"),
        ({"inner": [{}, {"count": "1"}]}, "inner[1].count", "give a whole number"),
        ({"inner": [{"cuont": 1}]}, "inner[0].cuont", "there is no such field"),
        ({"inner": [{"either": 3}]}, "inner[0].either", "give a text"),
        ({"inner": 3}, "inner", "give a list"),
    ],
)
def test_a_field_is_named_by_its_path(value: object, param: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    problems = [{**each, "loc": ("body", *each["loc"])} for each in caught.value.errors()]
    fault = fault_of_fields(problems)
    assert (fault.status, fault.param) == (400, param)
    assert str(fault.message) == f"{param}: {said}"
    with in_language("zh"):
        assert not any("a" <= c <= "z" for c in _(said))
