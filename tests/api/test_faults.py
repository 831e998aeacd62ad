"""One shape for every error, one table of statuses, two languages."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from rwkv_rag import errors
from rwkv_rag.api.faults import (
    SENTENCES,
    STATUS,
    Refused,
    fault_of,
    fault_of_fields,
    status_of,
)
from rwkv_rag.errors import RagError
from rwkv_rag.messages import explain_reason

KINDS = [each for each in vars(errors).values() if isinstance(each, type)]


@pytest.mark.parametrize("kind", [each for each in KINDS if issubclass(each, RagError)])
def test_every_error_has_a_status_and_its_code_reaches_the_client(kind: type[RagError]) -> None:
    fault = fault_of(kind("what happened"))
    assert fault.status == STATUS[kind] != 500
    assert 400 <= fault.status < 600
    assert fault.body("en")["error"]["code"] == kind.code
    assert fault.body("en")["error"]["message"] == "what happened"
    busy = issubclass(kind, (errors.Busy, errors.Unreachable, errors.WorkerLost))
    assert ("Retry-After" in fault.headers) == busy


def test_an_error_of_a_later_version_is_as_its_nearest_relative() -> None:
    class Newer(errors.NotFound):
        code = "newer"

    assert status_of(Newer("x")) == 404


def test_what_is_not_ours_tells_nothing_of_itself() -> None:
    fault = fault_of(KeyError("secret"))
    assert (fault.status, fault.code) == (500, "internal")
    assert "secret" not in str(fault.body("en"))


def test_a_refusal_names_field_code_and_status() -> None:
    error = Refused(errors.NotFound("no"), param="model", code="model_not_found")
    assert fault_of(error).body("en")["error"] == {
        "message": "no",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
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
    assert (fault.status, fault.param, fault.message) == (400, param, f"{param}: {said}")
    assert not any("a" <= c <= "z" for c in explain_reason(said, "zh"))


def test_every_sentence_has_its_chinese() -> None:
    values = dict.fromkeys(("ge", "gt", "le", "lt", "min_length", "max_length"), "3")
    for sentence in SENTENCES.values():
        if sentence != "{error}":
            said = explain_reason(sentence.format_map({**values, "expected": "'a'"}), "zh")
            assert any("\u4e00" <= c <= "\u9fff" for c in said), sentence
