"""Services in threads of the test: real sockets, no processes."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import zmq

from rwkv_rag import builders
from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.security import RouterSecurity
from rwkv_rag.bus.transport import Handler
from rwkv_rag.bus.worker import Worker
from rwkv_rag.config import Settings

SLOTS = 6
BEAT_S = 0.02  # ends soon


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_thread(held: ExitStack, run: Callable[[], None], stop: Callable[[], None]) -> None:
    """`run` until `held` is closed."""
    thread = threading.Thread(target=run)
    thread.start()
    held.callback(thread.join)
    held.callback(stop)


def serving(
    held: ExitStack,
    handler: Handler,
    front: str,
    back: str,
    *,
    context: zmq.Context[Any] | None = None,
    directory: Mapping[str, str] | None = None,
    security: RouterSecurity | None = None,
) -> str:
    """A router and a worker of `handler`; returns where clients reach them."""
    router = Router(
        "test",
        front,
        back,
        context=context,
        directory=directory,
        security=security,
        beat_s=BEAT_S,
    )
    in_thread(held, router.run, router.stop)
    worker = Worker(
        handler,
        router.back,
        name="w",
        slots=SLOTS,
        context=context,
        security=security.peer() if security else None,
        beat_s=BEAT_S,
    )
    in_thread(held, worker.run, lambda: worker.stop(1.0))
    return router.front


@contextmanager
def services(
    settings: Settings, *names: str, security: RouterSecurity | None = None
) -> Iterator[dict[str, str]]:
    """The named services of a home (all three if none is named); their front ends by name.

    With `security` they have keys, as services have that other machines reach.
    """
    names = names or ("llm", "index", "tuning")
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="rr-"))
        fronts = {name: f"ipc://{folder}/{name}" for name in names}
        if security:
            fronts = {name: f"tcp://127.0.0.1:{free_port()}" for name in names}
        keys, check = (security.peer(), builders.refuse_files) if security else (None, None)
        if "llm" in names:
            llm = held.enter_context(closing(QueueClient(fronts["llm"], security=keys)))
        makers = {
            "llm": builders.llm_service,
            "index": lambda settings: builders.index_service(settings, llm, check),
            "tuning": builders.tuning_service,
        }
        for name, front in fronts.items():
            service = makers[name](settings)
            held.callback(service.close)
            back = "tcp://127.0.0.1:0" if security else f"{front}.back"
            serving(held, service.handler, front, back, directory=fronts, security=security)
        yield fronts
