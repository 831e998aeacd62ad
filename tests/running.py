"""Services in threads of the test: real sockets, no processes."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import zmq

from rwkv_rag import app
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.transport import Handler
from rwkv_rag.bus.worker import Worker
from rwkv_rag.bus.zeromq import ZeroMQ
from rwkv_rag.config import Settings

SLOTS = 6
BEAT_S = 0.02  # ends soon


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
) -> str:
    """A router and a worker of `handler`; returns where clients reach them."""
    router = Router("test", front, back, context=context, directory=directory, beat_s=BEAT_S)
    in_thread(held, router.run, router.stop)
    worker = Worker(handler, router.back, name="w", slots=SLOTS, context=context, beat_s=BEAT_S)
    in_thread(held, worker.run, lambda: worker.stop(1.0))
    return router.front


@contextmanager
def services(settings: Settings, *names: str) -> Iterator[dict[str, str]]:
    """The named services of a home (all three if none is named); their front ends by name."""
    names = names or ("llm", "index", "tuning")
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="rr-"))
        fronts = {name: f"ipc://{folder}/{name}" for name in names}
        if "llm" in names:
            llm = held.enter_context(closing(ZeroMQ(fronts["llm"])))
        makers = {
            "llm": app.llm_service,
            "index": lambda settings: app.index_service(settings, llm),
            "tuning": app.tuning_service,
        }
        for name, front in fronts.items():
            service = makers[name](settings)
            held.callback(service.close)
            serving(held, service.handler, front, f"{front}.back", directory=fronts)
        yield fronts
