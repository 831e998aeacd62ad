"""The whole OpenAPI document under schemathesis: no request brings a 500, no answer lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from rwkv_rag import app
from rwkv_rag.api import application
from rwkv_rag.api.options import Options

from .serving import fake, fill
from .stand_in import StandInSupervision, StandInTuner

HELD = {"kb": "docs", "document": "garden.txt", "service": "llm", "id": "job0"}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    schemathesis = pytest.importorskip("schemathesis", reason="the fuzz test needs schemathesis")
    home: Path = tmp_path_factory.mktemp("fuzz") / "home"
    with app.open_client(fake(home)) as client:
        client.tuner = StandInTuner()
        client.supervision = StandInSupervision()
        fill(client)
        asgi = application.create(fake(home), Options(hosts=("testserver",)), client)
        yield schemathesis.openapi.from_asgi("/openapi.json", asgi), client


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "known", "examples", "expected"),
    [
        ("positive", True, 10, {200, 201, 204, 400}),
        ("positive", False, 4, {200, 404}),
        ("negative", True, 8, {400}),
    ],
)
def test_no_request_brings_a_500_and_no_answer_lies(
    described: Any, mode: str, known: bool, examples: int, expected: set[int]
) -> None:
    """Half of the requests are about things that exist, else all would end in a 404."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import response_schema_conformance

    schema, client = described
    seen: set[int] = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode == "negative" and not len(operation.body):
            continue  # any text may stand in an address: it cannot be asked wrongly

        @settings(
            max_examples=examples, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(operation.as_strategy(generation_mode=GenerationMode(mode)))
        def asked(case: Any) -> None:
            if known:
                held = {name: HELD[name] for name in case.path_parameters or {} if name in HELD}
                case.path_parameters = {**(case.path_parameters or {}), **held}
                if "docs" not in [base.name for base in client.knowledge.bases()]:
                    fill(client)
            answer = case.call()
            seen.add(answer.status_code)
            checks = [not_a_server_error, response_schema_conformance]
            case.validate_response(answer, checks=checks)

        asked()
    assert expected <= seen
