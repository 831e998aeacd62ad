"""What a child process can be. A router loads nothing of the RAG; models load in workers only.

Knows the services by name and asks `builders` for their objects.
"""

from __future__ import annotations

import logging
import os
import runpy
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rwkv_rag.config import Settings
from rwkv_rag.errors import InputError
from rwkv_rag.processes.ending import Ending
from rwkv_rag.processes.orders import Order, ProgramOrder, RouterOrder, WorkerOrder, settings_of

if TYPE_CHECKING:
    from rwkv_rag.builders import Facts, Service
    from rwkv_rag.bus.security import PeerSecurity
    from rwkv_rag.bus.transport import Transport

DRAIN_S = 10.0  # for the answers being written when a worker is stopped
STUCK_S = 30.0
SLOTS = {"llm": 16, "index": 8, "tuning": 4}  # each is a thread and a connection, idle or not

log = logging.getLogger("rwkv_rag.processes")


def carry_out(order: Order, ending: Ending) -> None:
    """Be what the order says until `ending`."""
    if isinstance(order, RouterOrder):
        run_router(order, ending)
    elif isinstance(order, WorkerOrder):
        run_worker(order, ending)
    else:
        run_program(order, ending)


def run_router(order: RouterOrder, ending: Ending) -> None:
    """Route until the end; raises InputError where an address cannot be used."""
    from rwkv_rag.bus.router import Router
    from rwkv_rag.bus.security import RouterSecurity

    security = RouterSecurity.load(Path(order.keys)) if order.keys else None
    router = Router(
        order.service, order.front, order.back, security=security, directory=order.directory
    )
    ending.watch(router.stop)
    router.run()


def run_worker(order: WorkerOrder, ending: Ending) -> None:
    """Load the service's objects, then answer for them until the end."""
    from rwkv_rag.bus.worker import Worker, exit_stuck

    served = _served(order)
    served.warm()
    worker = Worker(
        served.handler,
        order.back,
        name=order.name,
        slots=min(served.slots, SLOTS[order.service]),
        facts=partial(_facts, served),
        security=_security(order),
        stuck_s=STUCK_S,
        on_stuck=exit_stuck,
    )
    ending.watch(partial(worker.stop, DRAIN_S))
    worker.run()
    served.close()


def run_program(order: ProgramOrder, ending: Ending) -> None:
    """Run a module of ours as if it had been started by hand; SIGTERM ends it in its own way."""
    ending.watch(_interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [order.module, *order.arguments]
    with suppress(KeyboardInterrupt):
        runpy.run_module(order.module, run_name="__main__", alter_sys=True)


def _interrupt() -> None:
    """Ctrl-C, as the program's main thread knows it, even where it waits in the kernel."""
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGINT)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _served(order: WorkerOrder) -> Service:
    from rwkv_rag import builders

    settings = settings_of(order)
    if order.service == "llm":
        return builders.llm_service(settings)
    if order.service == "index":
        check = builders.refuse_files if order.open else None
        return builders.index_service(settings, _llm(order, settings), check)
    if order.service == "tuning":
        return builders.tuning_service(settings)
    raise InputError("there is no service {service!r}", service=order.service)


def _llm(order: WorkerOrder, settings: Settings) -> Transport:
    """Where the index has its vectors from: the llm service, or its own copy of the models."""
    if order.llm:
        from rwkv_rag.bus.client import QueueClient

        return QueueClient(order.llm, security=_security(order))
    from rwkv_rag.builders import llm_service
    from rwkv_rag.bus.local import Local

    return Local(llm_service(settings).handler)


def _security(order: WorkerOrder) -> PeerSecurity | None:
    from rwkv_rag.bus.security import PeerSecurity, RouterSecurity

    if order.key:
        return PeerSecurity.load(Path(order.key))
    return RouterSecurity.load(Path(order.keys)).peer() if order.keys else None


def _facts(served: Service) -> Facts:
    import psutil

    own = psutil.Process().memory_info().rss
    return {**served.facts(), "pid": os.getpid(), "memory_bytes": own}
