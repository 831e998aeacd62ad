"""Services over REST: shown and restarted where a supervisor is in charge."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ..serving import Served, fake, fault, running
from ..stand_in import StandInSupervision


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    def change(client: object) -> None:
        client.supervision = StandInSupervision()  # type: ignore[attr-defined]

    with running(fake(tmp_path_factory.mktemp("up") / "home"), change=change) as opened:
        yield opened


def test_services_are_shown_with_their_queues_and_workers(supervised: Served) -> None:
    llm, ui = supervised.http.get("/api/services").json()
    assert (llm["name"], llm["state"], llm["queue"]["waiting"]) == (
        "llm", "ready", {"chat": 3, "bulk": 1},
    )  # fmt: skip
    assert llm["queue"]["workers"][0]["facts"] == {"model": "builtin"}
    assert ui["queue"] is None


def test_a_restart_ends_with_the_service_as_it_is_then(supervised: Served) -> None:
    assert supervised.http.post("/api/services/llm/restart").json()["state"] == "ready"
    with supervised.http.stream("POST", "/api/services/llm/restart?stream=true") as answer:
        states = [json.loads(line)["state"] for line in answer.iter_lines()]
    assert states == ["restarting", "ready"]
    assert supervised.http.post("/api/services/gpu/restart").status_code == 404
    assert supervised.http.post("/api/services/api/restart").status_code == 409


def test_without_a_supervisor_it_is_said_how_to_have_one(shared: Served) -> None:
    for answer in (
        shared.http.get("/api/services"),
        shared.http.post("/api/services/llm/restart"),
    ):
        assert (answer.status_code, fault(answer)["code"]) == (409, "no_services")
        assert "rwkv-rag up" in fault(answer)["message"]


def test_the_queues_are_among_the_figures(supervised: Served) -> None:
    figures = supervised.http.get("/metrics").text
    assert 'rwkv_rag_queue_waiting{priority="chat",service="llm"} 3.0' in figures
    assert 'rwkv_rag_queue_in_flight{service="llm"} 2.0' in figures
    assert 'rwkv_rag_workers{service="llm"} 1.0' in figures
    assert 'rwkv_rag_service_ready{service="ui"} 1.0' in figures
