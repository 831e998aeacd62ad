"""The services as `rwkv-rag status` shows them. Knows no process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from rwkv_rag.cli.screen import Screen
from rwkv_rag.i18n import N_, _
from rwkv_rag.run_directory import Running
from rwkv_rag.types import QueueStatus, ServiceStatus

COLUMNS = (
    *(N_("service"), N_("state"), N_("waiting"), N_("busy"), N_("served"), N_("failed")),
    *("p50", "p99", N_("memory"), N_("restarts")),
)
FACTS = {"model": N_("model"), "tuned": N_("tuned"), "device": N_("device"), "pid": N_("pid")}
STYLES = {"ready": "green", "failed": "red", "starting": "yellow", "restarting": "yellow"}


def as_json(found: Running, services: list[ServiceStatus]) -> dict[str, Any]:
    """Everything that is known, for programs."""
    return {"running": True, "pid": found.pid, "services": [*map(_record, services)]}


def show(screen: Screen, found: Running, services: list[ServiceStatus]) -> None:
    """A table of the services, and a line for each worker and each problem."""
    table = Table(box=None, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for column in COLUMNS:
        table.add_column(_(column), no_wrap=True)
    for service in services:
        table.add_row(*_row(service), style=STYLES.get(service.state, ""))
    screen.out.print(table)
    for service in services:
        named = {"name": service.name, "address": service.address}
        screen.say("{name} at {address}", style="dim", **named)
        for line in _workers(service.queue):
            screen.out.print(line, style="dim")
        if service.reason:
            screen.say("{name}: {reason}", name=service.name, reason=_(service.reason))
    screen.say("process {pid} runs them", style="dim", pid=found.pid)


def _record(service: ServiceStatus) -> dict[str, Any]:
    return {**asdict(service), "reason": str(service.reason or "")}


def _row(service: ServiceStatus) -> list[str]:
    queue = service.queue
    counts = [""] * 6
    if queue:
        times = [_ms(queue.latency_s.get(name)) for name in ("p50", "p99")]
        numbers = (sum(queue.waiting.values()), queue.in_flight, queue.served, queue.failed)
        counts = [*map(str, numbers), *times]
    rest = [_mb(service.memory_bytes), str(service.restarts)]
    return [service.name, _(service.state), *counts, *rest]


def _workers(queue: QueueStatus | None) -> list[str]:
    lines = []
    for worker in queue.workers if queue else ():
        facts = dict(worker.facts)
        memory = _mb(int(facts.pop("memory_bytes", 0)))
        known = [f"{_(FACTS.get(name, name))} {facts[name]}" for name in facts if facts[name] != ""]
        text = _(
            "{name}: {busy} of {slots} at work, {served} served, {memory}",
            name=worker.name,
            busy=worker.in_flight,
            slots=worker.slots,
            served=worker.served,
            memory=memory,
        )
        lines.append(", ".join([f"  {text}", *known]))
    return lines


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.1f} ms"


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f} MB"
