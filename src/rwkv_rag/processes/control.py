"""The supervisor behind the bus, in its own process: what status, restart and down ask.

Knows `interfaces.Supervision` and where it is served.
"""

from __future__ import annotations

import os
import threading

from rwkv_rag.bus.router import Router
from rwkv_rag.bus.worker import Worker
from rwkv_rag.interfaces import Supervision
from rwkv_rag.processes.plan import Plan
from rwkv_rag.run_directory import RunDirectory, Running
from rwkv_rag.services.contracts import SUPERVISION
from rwkv_rag.services.serve import Export, serve

SLOTS = 3  # a restart is followed while somebody else asks for the status
LOOPBACK = "tcp://127.0.0.1:0"  # where there are no local sockets


class Control:
    """Serves `supervision` at a socket of the run directory until `close`."""

    def __init__(self, supervision: Supervision, directory: RunDirectory) -> None:
        local = os.name == "posix"
        ends = [
            directory.socket(name) if local else LOOPBACK
            for name in ("control.front", "control.back")
        ]
        self._router = Router("control", *ends)
        self._worker = Worker(
            serve({"supervision": Export(SUPERVISION, supervision)}),
            self._router.back,
            name="supervisor",
            slots=SLOTS,
        )
        self._threads = [
            threading.Thread(target=each.run, name=name, daemon=True)
            for name, each in (("control", self._router), ("supervision", self._worker))
        ]
        for thread in self._threads:
            thread.start()

    def running(self, plan: Plan) -> Running:
        """What is to be known of all that runs."""
        urls = {each.name: each.address for each in plan.services if each.router is None}
        return Running(
            os.getpid(),
            self._router.front,
            plan.fronts,
            api=urls.get("api", ""),
            ui=urls.get("ui", ""),
            server_key=str(plan.keys / "keys" / "server.key") if plan.keys else "",
        )

    def close(self) -> None:
        """Finish what is being answered, and let go of the socket."""
        self._worker.stop(1.0)
        self._threads[1].join(5.0)
        self._router.stop()
        self._threads[0].join(5.0)
