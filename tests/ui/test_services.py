"""The services page tells what runs and restarts a service; in process it says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rwkv_rag import app
from rwkv_rag.errors import Busy, Message, Unreachable
from rwkv_rag.types import QueueStatus, ServiceStatus, WorkerStatus

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)

from streamlit.testing.v1 import AppTest  # isort: skip

FACTS = {"memory_bytes": 430_000_000, "model": "builtin", "device": "cpu", "pid": 7}
WORKER = WorkerStatus("llm-1", slots=16, in_flight=2, served=41, heard_s=0.4, facts=FACTS)
QUEUE = QueueStatus(
    "llm", {"chat": 1, "bulk": 30}, 2, 41, 1, {"p50": 0.0123, "p95": 2.5}, (WORKER,)
)
LLM = ServiceStatus("llm", "ready", "ipc://x", restarts=3, memory_bytes=480_000_000, queue=QUEUE)
UI = ServiceStatus("ui", "ready", "http://127.0.0.1:8501", memory_bytes=60_000_000)
FAILED = ServiceStatus("api", "failed", "http://127.0.0.1:8600", reason=Message("api: exit code 2"))


class StandIn:
    """A supervisor that says what it is told to say and notes what it is asked to do."""

    def __init__(self, *statuses: ServiceStatus) -> None:
        self.statuses, self.restarted = [*statuses], []
        self.error: Exception | None = None

    def status(self) -> list[ServiceStatus]:
        if self.error:
            raise self.error
        return self.statuses

    def restart(self, service: str) -> Iterator[ServiceStatus]:
        self.restarted.append(service)
        if service == "index":
            raise Busy("a service is being restarted; wait until it is ready and try again")
        return iter([ServiceStatus(service, "restarting", ""), ServiceStatus(service, "ready", "")])

    def stop(self) -> None:
        raise AssertionError("the page stops nothing")


@pytest.fixture
def supervision(client: app.Client) -> StandIn:
    index = ServiceStatus("index", "starting", "ipc://y", queue=QueueStatus("", {}, 0, 0, 0, {}))
    stand_in = StandIn(LLM, index, FAILED, UI)
    client.supervision = stand_in  # type: ignore[assignment]
    return stand_in


def script() -> None:
    from rwkv_rag.ui import services, session

    session.use_language()
    services.page()


def opened(language: str = "en") -> AppTest:
    page = AppTest.from_function(script, default_timeout=20)
    page.session_state["language"] = language
    return page.run()


def test_in_process_the_page_says_so(client: app.Client) -> None:
    page = opened()
    assert "in this process" in page.info[0].value and not page.dataframe


def test_services_elsewhere_are_not_called_ours(client: app.Client) -> None:
    client.connected = True
    assert "elsewhere" in opened().info[0].value


def test_each_service_has_its_line(supervision: StandIn) -> None:
    page = opened()
    assert not page.exception
    table = page.dataframe[0].value
    assert table["service"].tolist() == ["llm", "index", "api", "ui"]
    assert table["state"].tolist() == ["ready", "starting", "failed", "ready"]
    assert table["queue"].tolist() == ["31", "0", "–", "–"]
    first = table.iloc[0]
    assert (first["p50"], first["p95"], first["in flight"]) == ("12 ms", "2.5 s", "2")
    assert (first["memory"], first["model"], first["restarts"]) == ("480 MB", "builtin", "3")


def test_each_worker_has_its_line(supervision: StandIn) -> None:
    worker = opened().dataframe[1].value.iloc[0]
    assert (worker["worker"], worker["in flight"], worker["memory"]) == ("llm-1", "2/16", "430 MB")


def test_why_a_service_failed_is_said(supervision: StandIn) -> None:
    assert "exit code 2" in opened().error[0].value


def test_a_service_is_restarted(supervision: StandIn) -> None:
    page = opened().button(key="restart_llm").click().run()
    assert supervision.restarted == ["llm"] and "ready" in page.success[0].value


def test_the_pages_do_not_restart_themselves(supervision: StandIn) -> None:
    assert {button.label for button in opened().button} == {"llm", "index", "api"}


def test_a_restart_that_is_refused_is_one_line(supervision: StandIn) -> None:
    page = opened().button(key="restart_index").click().run()
    assert not page.exception and "being restarted" in page.error[-1].value


def test_a_supervisor_that_is_gone_is_one_line(supervision: StandIn) -> None:
    supervision.error = Unreachable("nobody answers at ipc://x; start it with rwkv-rag up")
    page = opened()
    assert not page.exception and "nobody answers" in page.error[0].value


def test_the_page_speaks_chinese(supervision: StandIn) -> None:
    page = opened("zh")
    table = page.dataframe[0].value
    assert table["状态"].tolist() == ["就绪", "启动中", "失败", "就绪"]
    supervision.statuses = []
    assert not opened("zh").exception
