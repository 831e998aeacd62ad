"""Routers and workers in threads of this process, for tests. Ports are the system's choice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.router import Router
from rwkv_rag.bus.transport import Call, Handler, Incoming
from rwkv_rag.bus.worker import Worker

ANY_PORT = "tcp://127.0.0.1:0"
QUICK = {"beat_s": 0.1, "dead_s": 1.0}


def echo(incoming: Incoming) -> Any:
    """Says what it was asked; a stream says it over and over."""
    given = incoming.arguments(dict)
    if incoming.method == "repeat":
        return (given["text"] for _ in range(int(given["times"])))
    return given


def said(text: Any, **changes: Any) -> Call:
    """A call of `echo`."""
    return Call("echo", "say", {"text": text}, returns=dict, **changes)


def repeated(text: Any, times: int) -> Call:
    return Call("echo", "repeat", {"text": text, "times": times}, stream=True)


@contextmanager
def thread_of(run: Callable[[], None], stop: Callable[[], None]) -> Iterator[threading.Thread]:
    """`run` in a thread while the block runs; it must have ended soon after `stop`."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        stop()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def routing(**options: Any) -> Iterator[Router]:
    """A router that runs."""
    given = {"front": ANY_PORT, "back": ANY_PORT, **QUICK, **options}
    router = Router("echo", **given)
    with thread_of(router.run, router.stop):
        yield router


@contextmanager
def working(back: str, handler: Handler = echo, **options: Any) -> Iterator[Worker]:
    """A worker that runs."""
    worker = Worker(handler, back, **{"name": "w", "slots": 2, **QUICK, **options})
    with thread_of(worker.run, lambda: worker.stop(0)):
        yield worker


@contextmanager
def calling(front: str, **options: Any) -> Iterator[QueueClient]:
    """A client that gives up soon."""
    transport = QueueClient(front, **{"connect_s": 3.0, "ping_s": 0.2, "dead_s": 1.0, **options})
    try:
        yield transport
    finally:
        transport.close()
