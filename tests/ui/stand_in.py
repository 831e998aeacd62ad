"""A tuner without training: its jobs move on only when a test says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rwkv_rag.errors import InputError, Message, NotFound
from rwkv_rag.types import TuneEstimate, TuneJob, TuneSettings

FREE = 4_000_000_000


class StandInTuner:
    """Needs 1 MB a token of context and row; its loss falls from 3 towards 2."""

    def __init__(self) -> None:
        self._jobs: dict[str, TuneJob] = {}
        self.asked: list[str] = []

    def estimate(self, settings: TuneSettings) -> TuneEstimate:
        if not settings.name:
            raise InputError("'' is no name")
        needed = settings.batch * settings.context * 1_000_000
        cheaper = (Message("batch 1"),) if needed > FREE else ()
        return TuneEstimate(needed, FREE, 262_144, 0.3 * settings.steps, cheaper)

    def start(self, settings: TuneSettings) -> TuneJob:
        id = f"job{len(self._jobs)}"
        created = f"2026-01-01T00:00:{len(self._jobs):02d}"
        job = TuneJob(id, settings, "waiting", created, steps=settings.steps)
        self._jobs[id] = job
        return job

    def run(self, id: str, steps: int) -> None:
        """Let a job make `steps` more steps."""
        job = self.job(id)
        step = min(job.steps, job.step + steps)
        done = step == job.steps
        self.change(
            id,
            status="done" if done else "running",
            step=step,
            loss=_loss(step),
            tokens_per_s=500.0,
            eta_s=0.3 * (job.steps - step),
            memory_bytes=1_200_000_000,
            before=3.0,
            after=2.1 if done else None,
        )

    def change(self, id: str, **values: object) -> None:
        """Make a job say something else of itself."""
        self._jobs[id] = replace(self._jobs[id], **values)  # type: ignore[arg-type]

    def jobs(self) -> list[TuneJob]:
        return sorted(self._jobs.values(), key=lambda job: job.created, reverse=True)

    def job(self, id: str) -> TuneJob:
        if id not in self._jobs:
            raise NotFound(f"there is no job {id!r}")
        return self._jobs[id]

    def stop(self, id: str) -> None:
        self.asked.append(f"stop {id}")
        self.change(id, status="stopped")

    def resume(self, id: str) -> TuneJob:
        self.asked.append(f"resume {id}")
        self.change(id, status="running")
        return self.job(id)

    def forget(self, id: str) -> None:
        self.asked.append(f"forget {id}")
        del self._jobs[id]

    def metrics(self, id: str) -> list[Mapping[str, float]]:
        return [
            {"step": step, "loss": _loss(step), "lr": 1e-3, "tokens_per_s": 500.0}
            for step in range(1, self.job(id).step + 1)
        ]

    def logs(self, id: str) -> str:
        return "\n".join(f"step {step}" for step in range(1, self.job(id).step + 1))


def _loss(step: int) -> float:
    return 2 + 1 / (1 + step / 20) + 0.02 * (step % 3)
