"""A tuner without training and a supervisor without services, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rwkv_rag.errors import InputError, Message, NotFound
from rwkv_rag.types import (
    QueueStatus,
    ServiceStatus,
    TuneEstimate,
    TuneJob,
    TuneSettings,
    WorkerStatus,
)


class StandInTuner:
    """Its jobs do nothing; their loss is not a number."""

    def __init__(self) -> None:
        self.known: dict[str, TuneJob] = {}

    def estimate(self, settings: TuneSettings) -> TuneEstimate:
        return TuneEstimate(1000, 2000, 10, None, (Message("batch 2"),))

    def start(self, settings: TuneSettings) -> TuneJob:
        id = f"job{len(self.known)}"
        self.known[id] = TuneJob(id, settings, "running", "now", loss=float("nan"))
        return self.known[id]

    def jobs(self) -> list[TuneJob]:
        return list(self.known.values())

    def job(self, id: str) -> TuneJob:
        if id not in self.known:
            raise NotFound(f"no job {id!r}")
        return self.known[id]

    def stop(self, id: str) -> None:
        self.known[id] = replace(self.job(id), status="stopped")

    def resume(self, id: str) -> TuneJob:
        self.known[id] = replace(self.job(id), status="running")
        return self.known[id]

    def forget(self, id: str) -> None:
        if self.job(id).status == "running":
            raise InputError(f"job {id} runs: it is running; stop it before forgetting it")
        del self.known[id]

    def metrics(self, id: str) -> list[Mapping[str, float]]:
        self.job(id)
        return [{"step": 1, "loss": 2.5}, {"step": 2, "loss": float("inf")}]

    def logs(self, id: str) -> str:
        return f"log of {self.job(id).id}"


class StandInSupervision:
    """One service that restarts in two steps."""

    def __init__(self) -> None:
        worker = WorkerStatus("llm-1", 8, 2, 5, 0.1, {"model": "builtin"})
        waiting = {"chat": 3, "bulk": 1}
        queue = QueueStatus("llm", waiting, 2, 5, 0, {"p50": 0.1}, (worker,))
        self.llm = ServiceStatus("llm", "ready", "ipc:///llm", 0, 1 << 20, None, queue)
        self.ui = ServiceStatus("ui", "ready", "http://127.0.0.1:8501")

    def status(self) -> list[ServiceStatus]:
        return [self.llm, self.ui]

    def restart(self, service: str) -> Iterator[ServiceStatus]:
        if service != "llm":
            raise NotFound(f"there is no service {service!r}")
        return iter([replace(self.llm, state="restarting"), self.llm])

    def stop(self) -> None:
        raise AssertionError("no request may stop everything")
