"""Processes that belong together: those of one service, or workers for another machine's service.

A service is its router and its workers, or the one process of a program. Knows their states and how
they are replaced; when that is, the supervisor decides.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from rwkv_rag import config
from rwkv_rag.bus.address import Address
from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.security import PeerSecurity, require_keys
from rwkv_rag.config import SERVICES
from rwkv_rag.config.effective import Effective
from rwkv_rag.errors import InputError, Message, joined, message
from rwkv_rag.processes.plan import ServicePlan, worker_settings, worker_threads
from rwkv_rag.processes.process import (
    ManagedProcess,
    Output,
    Ready,
    answers_http,
    queue_status,
    routes,
    stop_all,
    works,
)
from rwkv_rag.processes.specs import ProcessPlan, ProcessSpec, WorkerSpec
from rwkv_rag.types import ServiceState, ServiceStatus

UNSETTLED: tuple[ServiceState, ...] = ("starting", "restarting")


class Listener(Protocol):
    """Is called with what happens; from the main thread, except `wrote`."""

    def wrote(self, name: str, line: Message) -> None:
        """A process wrote a line. From any thread."""

    def changed(self, process: str, state: str, reason: Message | None) -> None:
        """A process is in another state."""

    def settled(self, services: list[ServiceStatus]) -> None:
        """Nothing is starting any more; once."""

    def stopping(self, jobs: list[str]) -> None:
        """Everything is about to be stopped; these fine-tunings go on."""


class ServiceGroup:
    """The processes of a planned service; `queue` is the client of its router, if it has one."""

    def __init__(
        self,
        plan: ServicePlan,
        queue: QueueClient | None,
        output: Output,
        changed: Callable[[ManagedProcess], None],
    ) -> None:
        self.name, self.queue = plan.name, queue
        self._plan, self._output, self._report = plan, output, changed
        self._condition = threading.Condition(threading.RLock())
        self._stopped = False
        self._renewals = 0
        self._router: ManagedProcess | None = None
        if plan.router and queue:
            self._router = self._process(plan.router, routes(queue))
        self._workers = self._make_workers(plan)

    @property
    def router_spec(self) -> ProcessSpec | None:
        """The spec of the router, which stays the same when workers are replaced."""
        return self._plan.router.spec if self._plan.router else None

    @property
    def state(self) -> ServiceState:
        """Ready as long as one worker is; otherwise what keeps it from being ready."""
        if self._router and not self._routed:
            return self._router.state
        states = {worker.state for worker in self._workers}
        for state in ("ready", *UNSETTLED, "failed"):
            if state in states:
                return state
        return "stopped"

    @property
    def _routed(self) -> bool:
        return self._router is not None and self._router.state == "ready"

    def status(self) -> ServiceStatus:
        processes = self._processes()
        return ServiceStatus(
            self.name,
            self.state,
            self._plan.address,
            restarts=self._renewals + sum(each.restarts for each in processes),
            memory_bytes=sum(_memory_bytes(each.pid) for each in processes),
            reason=_reasons(processes),
            queue=queue_status(self.queue) if self.queue and self._routed else None,
        )

    def start_router(self) -> None:
        if self._router:
            self._router.start()

    def start_workers(self) -> None:
        for worker in self._workers:
            worker.start()

    def replace_workers(self, plan: ServicePlan, changed: Callable[[], None]) -> None:
        """Let the workers finish, start those of `plan`, and wait until they are ready or failed.

        `changed` is called after every change.
        """
        stop_all(self._workers)
        changed()
        with self._condition:
            if self._stopped:
                return
            self._plan, self._workers = plan, self._make_workers(plan)
            self._renewals += 1
            self.start_workers()
            changed()
            while any(worker.state in UNSETTLED for worker in self._workers):
                self._condition.wait()
        changed()

    def stop_workers(self, timeout_s: float | None) -> None:
        """Stop them when they have finished their requests; none can be started again."""
        with self._condition:
            self._stopped = True
        stop_all(self._workers, timeout_s)

    def stop_router(self, timeout_s: float | None) -> None:
        if self._router:
            self._router.stop(timeout_s)

    def kill(self) -> None:
        for process in self._processes():
            process.kill()

    def _processes(self) -> list[ManagedProcess]:
        return [*([self._router] if self._router else []), *self._workers]

    def _make_workers(self, plan: ServicePlan) -> list[ManagedProcess]:
        ready = works(self.queue) if self.queue else answers_http(*plan.health)
        return [self._process(each, ready) for each in plan.workers]

    def _process(self, plan: ProcessPlan, ready: Ready) -> ManagedProcess:
        return ManagedProcess(plan, ready, self._output, self._changed)

    def _changed(self, process: ManagedProcess) -> None:
        self._report(process)
        with self._condition:
            self._condition.notify_all()


class RemoteWorkers:
    """The workers of this machine for a service of another; `rwkv-rag worker` runs them.

    They connect to the back end at `connect`, again whenever the connection is lost; nothing of the
    service itself runs here. Raises InputError for a service whose workers must stay where its
    files are, and for an address or a key that cannot be used.
    """

    def __init__(
        self,
        effective: Effective,
        service: str,
        connect: str,
        *,
        key: Path | None,
        num_workers: int,
        listener: Listener,
    ) -> None:
        _check_remote(service)
        address = Address.parse(connect)
        require_keys(address, PeerSecurity.load(key) if key else None)
        self._listener = listener
        self._events: SimpleQueue[ManagedProcess | None] = SimpleQueue()
        environment = config.child_environment(
            effective.settings, file=effective.file, threads=worker_threads(num_workers)
        )
        host = os.uname().nodename if hasattr(os, "uname") else "worker"
        self._processes = []
        for number in range(1, num_workers + 1):
            spec = WorkerSpec(
                service=service,
                name=f"{service}-{number}@{host}",
                back=address.url,
                settings=worker_settings(effective),
                key=str(key.absolute()) if key else "",
            )
            plan = ProcessPlan(spec.name, spec, environment)
            self._processes.append(
                ManagedProcess(plan, lambda _: True, listener.wrote, self._events.put)
            )

    def run(self) -> None:
        """Work until `stop`, or until no worker can. Raises InputError then."""
        for process in self._processes:
            process.start()
        while (changed := self._events.get()) is not None:
            # Whether it is of use yet, only the router on the other machine knows.
            state = "started" if changed.state == "ready" else changed.state
            self._listener.changed(changed.name, state, changed.reason)
            if all(each.state == "failed" for each in self._processes):
                raise InputError("no worker could be started: {reason}", reason=changed.reason)
        stop_all(self._processes)

    def stop(self) -> None:
        self._events.put(None)

    def kill(self) -> None:
        for process in self._processes:
            process.kill()


def _check_remote(service: str) -> None:
    stays = {
        "index": message(
            "the knowledge bases belong to one process on the machine that has the files"
        ),
        "tuning": message("its jobs and their files stay on one machine"),
    }
    if service in stays:
        raise InputError(
            "{service} takes no workers from other machines: {stays}",
            service=service,
            stays=stays[service],
        )
    if service not in SERVICES:
        raise InputError("there is no service {service!r} to work for; take llm", service=service)


def _reasons(processes: list[ManagedProcess]) -> Message | None:
    """Why processes are not at work, as one message."""
    reasons = [
        message("{name}: {reason}", name=each.name, reason=each.reason)
        for each in processes
        if each.reason
    ]
    return joined("; ", reasons) if reasons else None


def _memory_bytes(pid: int | None) -> int:
    import psutil

    if pid is None:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
