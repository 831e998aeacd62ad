"""All processes of `rwkv-rag up`: started in order, kept running, restarted, stopped in order.

    routers ─▶ workers, API, pages         and back: pages, API, workers (they finish), routers

`run` belongs to the main thread: everything that happens comes to it as an event, signals too.
Knows processes and their states; what they do it does not know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from queue import SimpleQueue
from typing import Protocol

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.errors import Busy, InputError, Message, RagError
from rwkv_rag.interfaces import Tuner
from rwkv_rag.processes import ports
from rwkv_rag.processes.control import Control
from rwkv_rag.processes.keeper import Keeper, Patience
from rwkv_rag.processes.plan import Plan
from rwkv_rag.processes.team import UNSETTLED, Team
from rwkv_rag.run_directory import RunDirectory
from rwkv_rag.services.contracts import TUNER, CallPolicy
from rwkv_rag.services.remote import remote
from rwkv_rag.types import ServiceStatus

CONNECT_S = 1.0  # a router of this machine answers in milliseconds
ASKED_SOON = replace(
    TUNER, policies={"jobs": CallPolicy(deadline_s=1.0)}
)  # nobody waits long for an end


class Listener(Protocol):
    """Who is told what happens; from the main thread, but for `wrote`."""

    def wrote(self, name: str, line: Message) -> None:
        """A process wrote a line. From any thread."""

    def changed(self, process: str, state: str, reason: Message | None) -> None:
        """A process is in another state."""

    def settled(self, services: list[ServiceStatus]) -> None:
        """Nothing is starting any more; once."""

    def stopping(self, jobs: list[str]) -> None:
        """Everything is about to be stopped; these fine-tunings go on."""


class Supervisor:
    """Runs what `plan` says on the directory it was made for.

    `plan` is asked again by every restart; what it raises is what is wrong with the configuration.
    """

    def __init__(
        self,
        directory: RunDirectory,
        plan: Callable[[], Plan],
        listener: Listener,
        *,
        patience: Patience | None = None,
    ) -> None:
        self._directory, self._planned, self._listener = directory, plan, listener
        self._patience = patience or Patience()
        self._events: SimpleQueue[Keeper | None] = SimpleQueue()
        self._teams: list[Team] = []
        self._restarting = threading.Lock()
        self._hurried = False

    def run(self) -> None:
        """Start everything, keep it running until `stop`, leave nothing behind.

        Raises Busy (another runs; a port is taken) or InputError before anything is started.
        """
        self._directory.acquire()
        try:
            plan = self._plan = self._planned()
            for key, address, port in plan.listens:
                ports.check_free(key, address, port)
            with ExitStack() as held:
                self._serve(plan, held)
        finally:
            self._directory.release()

    def stop(self) -> None:
        """Have `run` stop everything and return; from any thread or a signal handler."""
        self._events.put(None)

    def hurry(self) -> None:
        """End what has not ended yet this moment; from the same places as `stop`."""
        self._hurried = True
        self._events.put(None)
        for team in self._teams:
            team.kill()

    def status(self) -> list[ServiceStatus]:
        """Every service in the order of starting."""
        return [team.status() for team in self._teams]

    def restart(self, service: str) -> Iterator[ServiceStatus]:
        """Give a service new workers from the configuration as it is now; see `Supervision`.

        Raises NotFound, InputError for a configuration that does not fit, Busy during another.
        """
        self._plan.service(service)
        plan = self._planned()
        team = next(each for each in self._teams if each.name == service)
        fresh = plan.service(service)
        if fresh.router and fresh.router.order != team.router_order:
            raise InputError(
                "the addresses of {service} have changed; that takes rwkv-rag down and up",
                service=service,
            )
        if not self._restarting.acquire(blocking=False):
            raise Busy("a service is being restarted; wait until it is ready and try again")
        changes: SimpleQueue[ServiceStatus | None] = SimpleQueue()

        def renew() -> None:
            try:
                team.renew(fresh, lambda: changes.put(team.status()))
            finally:
                self._restarting.release()
                changes.put(None)

        # A thread of its own: whoever asked may go away, the service must come back all the same.
        threading.Thread(target=renew, name=f"restart {service}", daemon=True).start()
        return iter(changes.get, None)

    # the main thread

    def _serve(self, plan: Plan, held: ExitStack) -> None:
        control = held.enter_context(closing(Control(self, self._directory)))
        for service in plan.services:
            queue = None
            if service.router:
                front = plan.fronts[service.name]
                queue = QueueClient(front, security=plan.security, connect_s=CONNECT_S)
                held.callback(queue.close)
            self._teams.append(
                Team(service, queue, self._listener.wrote, self._events.put, self._patience)
            )
        self._directory.write(control.running(plan))
        try:
            self._start()
            self._watch()
        finally:
            self._end()

    def _start(self) -> None:
        for team in self._teams:
            team.start_router()
        for team in self._teams:
            team.start_workers()

    def _watch(self) -> None:
        """Tell what happens until somebody says stop."""
        settled = False
        while (keeper := self._events.get()) is not None:
            self._listener.changed(keeper.name, keeper.state, keeper.reason)
            if not settled and not any(team.state in UNSETTLED for team in self._teams):
                settled = True
                self._listener.settled(self.status())

    def _end(self) -> None:
        self._listener.stopping(self._jobs())
        for team in reversed(self._teams):
            team.end_workers(0 if self._hurried else None)
        for team in reversed(self._teams):
            team.end_router(0 if self._hurried else None)

    def _jobs(self) -> list[str]:
        """The fine-tunings that run, which outlive us."""
        team = next((team for team in self._teams if team.name == "tuning"), None)
        if self._hurried or team is None or team.queue is None or team.state != "ready":
            return []
        tuner: Tuner = remote(ASKED_SOON, team.queue)
        try:
            return [job.id for job in tuner.jobs() if job.status in ("waiting", "running")]
        except RagError:
            return []
