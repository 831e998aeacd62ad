"""A child of `rwkv-rag up`: reads on stdin what it is to be, and ends when stdin closes.

Stdin closes when the supervisor stops the child, and when the supervisor was killed, so nothing
outlives it; SIGTERM does the same. A child that does not end in time ends itself. A router loads
nothing of the RAG; models load in workers only.
"""

from __future__ import annotations

import logging
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rwkv_rag.errors import InputError, RagError
from rwkv_rag.processes import specs
from rwkv_rag.processes.specs import ProcessSpec, ProgramSpec, RouterSpec, WorkerSpec

if TYPE_CHECKING:
    from rwkv_rag.builders import Facts, Service
    from rwkv_rag.bus.security import PeerSecurity
    from rwkv_rag.bus.transport import Transport

USER_ERROR = 2  # exit code of a process that cannot work before the user changes something
OVERDUE = 3  # exit code of a process that could not end in time
MAX_SPEC_BYTES = 1 << 20
GRACE_S = 15.0  # for requests under way; then the process ends whatever it does
DRAIN_S = 10.0  # for the answers being written when a worker is stopped
STUCK_S = 30.0
SLOTS = {"llm": 16, "index": 8, "tuning": 4}  # each is a thread and a connection, idle or not


def main() -> int:
    """Run what stdin says; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    if not (line := _first_line()):
        return 0  # the supervisor died before it could write
    try:
        run(specs.decode(line))
    except RagError as error:
        sys.stdout.buffer.write(specs.encode_error(error))
        sys.stdout.flush()
        return USER_ERROR
    return 0


def run(spec: ProcessSpec) -> None:
    """Be a router, a worker or a program until stdin closes."""
    if isinstance(spec, RouterSpec):
        _run_router(spec)
    elif isinstance(spec, WorkerSpec):
        _run_worker(spec)
    else:
        _run_program(spec)


def on_end(stop: Callable[[], None], *, grace_s: float = GRACE_S) -> None:
    """Call `stop` from a thread when stdin closes or at SIGTERM; end the process if that hangs."""
    ended = threading.Event()

    def read() -> None:
        with suppress(OSError):
            while os.read(0, 1 << 12):
                pass
        ended.set()

    def end() -> None:
        ended.wait()
        overdue = threading.Timer(grace_s, os._exit, (OVERDUE,))
        overdue.daemon = True
        overdue.start()
        stop()

    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the supervisor to handle
    threading.Thread(target=read, name="stdin", daemon=True).start()
    threading.Thread(target=end, name="end", daemon=True).start()


def _first_line() -> bytes:
    """The first line of stdin; empty where it closed before.

    Reads the bare descriptor, as `on_end` does: a thread that waits in a buffered reader makes the
    interpreter's own end fail.
    """
    line = b""
    while not line.endswith(b"\n") and len(line) < MAX_SPEC_BYTES:
        if not (more := os.read(0, MAX_SPEC_BYTES)):
            return b""
        line += more
    return line


def _run_router(spec: RouterSpec) -> None:
    from rwkv_rag.bus.router import Router
    from rwkv_rag.bus.security import RouterSecurity

    security = RouterSecurity.load(Path(spec.keys)) if spec.keys else None
    router = Router(
        spec.service, spec.front, spec.back, security=security, directory=spec.directory
    )
    on_end(router.stop)
    router.run()


def _run_worker(spec: WorkerSpec) -> None:
    """Load the service's objects, then answer for them."""
    from rwkv_rag.bus.worker import Worker, exit_stuck

    service = _service(spec)
    service.warm()
    worker = Worker(
        service.handler,
        spec.back,
        name=spec.name,
        slots=SLOTS[spec.service],
        facts=partial(_facts, service),
        security=_security(spec),
        stuck_s=STUCK_S,
        on_stuck=exit_stuck,
    )
    on_end(partial(worker.stop, DRAIN_S))
    worker.run()
    service.close()


def _run_program(spec: ProgramSpec) -> None:
    """Run a module as if it had been started by hand; it ends as by Ctrl-C."""
    on_end(_interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [spec.module, *spec.arguments]
    with suppress(KeyboardInterrupt):
        runpy.run_module(spec.module, run_name="__main__", alter_sys=True)


def _interrupt() -> None:
    """Ctrl-C, as the program's main thread knows it, even where it waits in the kernel."""
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGINT)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _service(spec: WorkerSpec) -> Service:
    from rwkv_rag import builders

    if spec.service == "llm":
        return builders.llm_service(spec.settings)
    if spec.service == "index":
        check = builders.refuse_files if spec.open else None
        return builders.index_service(spec.settings, _llm(spec), check)
    if spec.service == "tuning":
        return builders.tuning_service(spec.settings)
    raise InputError("there is no service {service!r}", service=spec.service)


def _llm(spec: WorkerSpec) -> Transport:
    """Where the index gets its vectors: the llm service, or its own copy of the models."""
    if spec.llm:
        from rwkv_rag.bus.client import QueueClient

        return QueueClient(spec.llm, security=_security(spec))
    from rwkv_rag.builders import llm_service
    from rwkv_rag.bus.local import Local

    return Local(llm_service(spec.settings).handler)


def _security(spec: WorkerSpec) -> PeerSecurity | None:
    from rwkv_rag.bus.security import PeerSecurity, RouterSecurity

    if spec.key:
        return PeerSecurity.load(Path(spec.key))
    return RouterSecurity.load(Path(spec.keys)).peer() if spec.keys else None


def _facts(service: Service) -> Facts:
    import psutil

    memory_bytes = psutil.Process().memory_info().rss
    return {**service.facts(), "pid": os.getpid(), "memory_bytes": memory_bytes}
