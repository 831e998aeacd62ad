"""The processes of one service: its router and its workers, or the one process of a program.

Knows their states and how they are renewed; when that is, others decide.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.errors import Message, RagError, joined, message
from rwkv_rag.processes import readiness
from rwkv_rag.processes.keeper import Keeper, Patience, Say, end
from rwkv_rag.processes.orders import Order
from rwkv_rag.processes.plan import Planned, Service
from rwkv_rag.types import QueueStatus, ServiceState, ServiceStatus

UNSETTLED: tuple[ServiceState, ...] = ("starting", "restarting")


class Team:
    """The keepers of a planned service; `queue` is the client of its router, if it has one."""

    def __init__(
        self,
        planned: Service,
        queue: QueueClient | None,
        say: Say,
        changed: Callable[[Keeper], None],
        patience: Patience,
    ) -> None:
        self.name, self.queue = planned.name, queue
        self._planned = planned
        self._say, self._tell, self._patience = say, changed, patience
        self._news = threading.Condition(threading.RLock())
        self._ended = False
        self._renewals = 0
        self._router: Keeper | None = None
        if planned.router and queue:
            self._router = self._keeper(planned.router, readiness.routes(queue))
        self._workers = self._hired(planned)

    @property
    def router_order(self) -> Order | None:
        """What the router was told, which a renewal does not change."""
        return self._planned.router.order if self._planned.router else None

    @property
    def state(self) -> ServiceState:
        """Ready as long as one worker is; otherwise what keeps it from being ready."""
        if self._router and self._router.state != "ready":
            return self._router.state
        states = {worker.state for worker in self._workers}
        for state in ("ready", *UNSETTLED, "failed"):
            if state in states:
                return state
        return "stopped"

    def status(self) -> ServiceStatus:
        keepers = self._keepers()
        return ServiceStatus(
            self.name,
            self.state,
            self._planned.address,
            restarts=self._renewals + sum(keeper.restarts for keeper in keepers),
            memory_bytes=sum(_memory(keeper.pid) for keeper in keepers),
            reason=_reason(keepers),
            queue=self._queue_status(),
        )

    def start_router(self) -> None:
        if self._router:
            self._router.start()

    def start_workers(self) -> None:
        for worker in self._workers:
            worker.start()

    def renew(self, fresh: Service, told: Callable[[], None]) -> None:
        """Let the workers finish, start those of `fresh`, and wait until they are ready or failed.

        `told` is called after every change.
        """
        end(self._workers, None)
        told()
        with self._news:
            if self._ended:
                return
            self._planned, self._workers = fresh, self._hired(fresh)
            self._renewals += 1
            self.start_workers()
            told()
            while any(worker.state in UNSETTLED for worker in self._workers):
                self._news.wait()
        told()

    def end_workers(self, within_s: float | None) -> None:
        """Stop them when they have finished what they do; nobody can start any again."""
        with self._news:
            self._ended = True
        end(self._workers, within_s)

    def end_router(self, within_s: float | None) -> None:
        if self._router:
            end([self._router], within_s)

    def kill(self) -> None:
        for keeper in self._keepers():
            keeper.kill()

    def _keepers(self) -> list[Keeper]:
        return [*([self._router] if self._router else []), *self._workers]

    def _hired(self, planned: Service) -> list[Keeper]:
        if self.queue:
            ready = readiness.works(self.queue)
        else:
            ready = readiness.answers_http(*planned.health)
        return [self._keeper(each, ready) for each in planned.workers]

    def _keeper(self, planned: Planned, ready: readiness.Ready) -> Keeper:
        return Keeper(
            planned.name,
            planned.order,
            ready,
            say=self._say,
            environment=planned.environment,
            changed=self._changed,
            patience=self._patience,
        )

    def _changed(self, keeper: Keeper) -> None:
        self._tell(keeper)
        with self._news:
            self._news.notify_all()

    def _queue_status(self) -> QueueStatus | None:
        if self.queue is None or self._router is None or self._router.state != "ready":
            return None
        with suppress(RagError):
            return self.queue.status()
        return None


def _memory(pid: int | None) -> int:
    import psutil

    if pid is None:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _reason(keepers: Sequence[Keeper]) -> Message | None:
    """Why processes do not run, with their names; None where all do."""
    reasons = [
        message("{name}: {reason}", name=keeper.name, reason=keeper.reason)
        for keeper in keepers
        if keeper.reason
    ]
    return joined("; ", reasons) if reasons else None
