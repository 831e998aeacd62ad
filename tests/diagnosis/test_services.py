"""What the supervisor says of a service becomes a finding; without one the ports are looked at."""

from __future__ import annotations

import pytest

from rwkv_rag.config.ragq import Ragq
from rwkv_rag.diagnosis.services import services
from rwkv_rag.types import QueueStatus, ServiceState, ServiceStatus, WorkerStatus

RAGQ = Ragq.model_validate({"api": {"enabled": False}, "ui": {"enabled": False}})
WORKER = WorkerStatus("llm-1", slots=1, in_flight=0, served=1, heard_s=0.1)


class StandIn:
    """A supervisor whose services are in the states it was made with."""

    def __init__(self, *statuses: ServiceStatus) -> None:
        self.statuses = statuses

    def status(self) -> list[ServiceStatus]:
        return [*self.statuses]

    def restart(self, service: str) -> object:
        raise AssertionError("looking restarts nothing")

    def stop(self) -> None:
        raise AssertionError("looking stops nothing")


def queue(*workers: WorkerStatus) -> QueueStatus:
    return QueueStatus("llm", {"chat": 2, "bulk": 1}, 0, 1, 0, {}, workers)


def state_of(status: ServiceStatus) -> str:
    [finding] = services(StandIn(status), RAGQ)  # type: ignore[arg-type]
    return finding.state


@pytest.mark.parametrize(
    ("state", "judged"),
    [
        ("ready", "ok"),
        ("starting", "warn"),
        ("restarting", "warn"),
        ("stopped", "fail"),
        ("failed", "fail"),
    ],
)
def test_a_state_is_judged(state: ServiceState, judged: str) -> None:
    assert state_of(ServiceStatus("llm", state, "ipc://x", queue=queue(WORKER))) == judged


def test_a_queue_without_a_worker_fails() -> None:
    assert state_of(ServiceStatus("llm", "ready", "ipc://x", queue=queue())) == "fail"


def test_a_program_without_a_queue_is_fine_when_it_is_ready() -> None:
    assert state_of(ServiceStatus("ui", "ready", "http://127.0.0.1:8501")) == "ok"


def test_waiting_requests_are_counted() -> None:
    [finding] = services(StandIn(ServiceStatus("llm", "ready", "x", queue=queue(WORKER))), RAGQ)  # type: ignore[arg-type]
    assert (finding.text.values["workers"], finding.text.values["waiting"]) == (1, 3)


def test_where_nothing_runs_nothing_is_asked() -> None:
    [finding] = services(None, RAGQ)
    assert finding.state == "ok" and "none runs" in str(finding.text)
