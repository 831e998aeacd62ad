"""All processes of `rwkv-rag up`: started in order, kept running, restarted, stopped in order.

    routers ─▶ workers, API, pages         and back: pages, API, workers (they finish), routers

`run` belongs to the main thread: everything that happens comes to it as an event, signals too. The
supervisor itself answers status, restart and down over the bus. Knows processes and their states,
and nothing of what they do.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from queue import SimpleQueue

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.worker import Worker
from rwkv_rag.errors import Busy, InputError, RagError
from rwkv_rag.interfaces import Tuner
from rwkv_rag.processes import ports
from rwkv_rag.processes.groups import UNSETTLED, Listener, ServiceGroup
from rwkv_rag.processes.plan import Plan
from rwkv_rag.processes.process import ManagedProcess
from rwkv_rag.run_directory import RunDirectory, Running
from rwkv_rag.services.contracts import SUPERVISION, TUNER, CallPolicy
from rwkv_rag.services.remote import remote
from rwkv_rag.services.serve import Export, serve
from rwkv_rag.types import ServiceStatus

CONNECT_S = 1.0  # a router of this machine answers in milliseconds
CONTROL_SLOTS = 3  # a restart is followed while another client asks for the status
ANY_PORT = "tcp://127.0.0.1:0"  # where there are no local sockets
# The end of all services does not wait long for the list of jobs.
IMPATIENT_TUNER = replace(TUNER, policies={"jobs": CallPolicy(deadline_s=1.0)})


class Supervisor:
    """Runs what `plan` says on the directory it was made for.

    `plan` is called again for every restart; it raises what is wrong with the configuration.
    """

    def __init__(
        self, directory: RunDirectory, plan: Callable[[], Plan], listener: Listener
    ) -> None:
        self._directory, self._make_plan, self._listener = directory, plan, listener
        self._events: SimpleQueue[ManagedProcess | None] = SimpleQueue()
        self._groups: list[ServiceGroup] = []
        self._restarting = threading.Lock()
        self._killed = False

    def run(self) -> None:
        """Start everything, keep it running until `stop`, leave nothing behind.

        Raises Busy (another runs; a port is taken) or InputError before anything is started.
        """
        self._directory.acquire()
        try:
            plan = self._plan = self._make_plan()
            for key, address, port in plan.listens:
                ports.check_free(key, address, port)
            with ExitStack() as held:
                self._serve(plan, held)
        finally:
            self._directory.release()

    def stop(self) -> None:
        """Have `run` stop everything and return; from any thread or a signal handler."""
        self._events.put(None)

    def kill(self) -> None:
        """End at once what has not ended yet; from the same places as `stop`."""
        self._killed = True
        self._events.put(None)
        for group in self._groups:
            group.kill()

    def status(self) -> list[ServiceStatus]:
        """Every service in the order of starting."""
        return [group.status() for group in self._groups]

    def restart(self, service: str) -> Iterator[ServiceStatus]:
        """Give a service new workers from the configuration as it is now; see `Supervision`.

        Raises NotFound, InputError for a configuration that does not fit, Busy during another.
        """
        self._plan.service(service)
        new = self._make_plan().service(service)
        group = next(each for each in self._groups if each.name == service)
        if new.router and new.router.spec != group.router_spec:
            raise InputError(
                "the addresses of {service} have changed; that takes rwkv-rag down and up",
                service=service,
            )
        if not self._restarting.acquire(blocking=False):
            raise Busy("a service is being restarted; wait until it is ready and try again")
        changes: SimpleQueue[ServiceStatus | None] = SimpleQueue()

        def replace_workers() -> None:
            try:
                group.replace_workers(new, lambda: changes.put(group.status()))
            finally:
                self._restarting.release()
                changes.put(None)

        # A thread of its own: the client may go away, the service must come back all the same.
        threading.Thread(target=replace_workers, name=f"restart {service}", daemon=True).start()
        return iter(changes.get, None)

    # in the main thread

    def _serve(self, plan: Plan, held: ExitStack) -> None:
        control = held.enter_context(self._control())
        for service in plan.services:
            queue = None
            if service.router:
                front = plan.fronts[service.name]
                queue = QueueClient(front, security=plan.security, connect_s=CONNECT_S)
                held.callback(queue.close)
            group = ServiceGroup(service, queue, self._listener.wrote, self._events.put)
            self._groups.append(group)
        self._directory.write(_running(plan, control))
        try:
            for group in self._groups:
                group.start_router()
            for group in self._groups:
                group.start_workers()
            self._watch()
        finally:
            self._end()

    def _watch(self) -> None:
        """Report what happens until `stop`."""
        settled = False
        while (process := self._events.get()) is not None:
            self._listener.changed(process.name, process.state, process.reason)
            if not settled and not any(group.state in UNSETTLED for group in self._groups):
                settled = True
                self._listener.settled(self.status())

    def _end(self) -> None:
        self._listener.stopping(self._jobs())
        for group in reversed(self._groups):
            group.stop_workers(0 if self._killed else None)
        for group in reversed(self._groups):
            group.stop_router(0 if self._killed else None)

    def _jobs(self) -> list[str]:
        """The fine-tunings that run, which outlive the services."""
        tuning = next((group for group in self._groups if group.name == "tuning"), None)
        if self._killed or tuning is None or tuning.queue is None or tuning.state != "ready":
            return []
        tuner: Tuner = remote(IMPATIENT_TUNER, tuning.queue)
        try:
            return [job.id for job in tuner.jobs() if job.status in ("waiting", "running")]
        except RagError:
            return []

    @contextmanager
    def _control(self) -> Iterator[str]:
        """Answer for the supervisor at a socket of the run directory; yields its address."""
        if os.name == "posix":
            ends = [self._directory.socket(name) for name in ("control.front", "control.back")]
        else:
            ends = [ANY_PORT, ANY_PORT]
        router = Router("control", *ends)
        handler = serve({"supervision": Export(SUPERVISION, self)})
        worker = Worker(handler, router.back, name="supervisor", slots=CONTROL_SLOTS)
        routing = threading.Thread(target=router.run, name="control", daemon=True)
        working = threading.Thread(target=worker.run, name="supervision", daemon=True)
        routing.start()
        working.start()
        try:
            yield router.front
        finally:  # finish what is being answered
            worker.stop(1.0)
            working.join(5.0)
            router.stop()
            routing.join(5.0)


def _running(plan: Plan, control: str) -> Running:
    """What `services.json` says of the services in `plan`."""
    urls = {each.name: each.address for each in plan.services if each.router is None}
    return Running(
        os.getpid(),
        control,
        plan.fronts,
        api=urls.get("api", ""),
        ui=urls.get("ui", ""),
        server_key=str(plan.keys / "keys" / "server.key") if plan.keys else "",
    )
