"""Every way to reach an object: itself, in process behind a handler, and over real sockets."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import zmq

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.bus.local import Local
from rwkv_rag.bus.transport import Handler, Transport
from rwkv_rag.services.contracts import Contract
from rwkv_rag.services.remote import remote
from rwkv_rag.services.serve import Export, FairLock, serve

from ..running import serving

WAYS = ("direct", "local", "inproc", "ipc", "tcp")
SOCKETS = WAYS[2:]
AHEAD = 40  # values that sockets fetch before they are asked for, at most

Reach = Callable[..., Any]


@contextmanager
def connected(handler: Handler, way: str) -> Iterator[Transport]:
    """A transport to `handler`; over sockets with a router and a worker in threads."""
    if way == "local":
        with closing(Local(handler)) as transport:
            yield transport
        return
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="rr-"))
        urls = {
            "tcp": ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
            "ipc": (f"ipc://{folder}/front", f"ipc://{folder}/back"),
            "inproc": ("inproc://front", "inproc://back"),
        }
        context: zmq.Context[Any] = held.enter_context(zmq.Context())
        front = serving(held, handler, *urls[way], context=context)
        yield held.enter_context(closing(QueueClient(front, context=context)))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def reach(way: str) -> Iterator[Reach]:
    """reach(CONTRACT, object): the object itself, or its twin on the other end of the way."""
    with ExitStack() as held:

        def reached(
            contract: Contract,
            what: Any,
            *,
            lock: FairLock | None = None,
            deadline_s: float | None = None,
            bound: Mapping[str, str] | None = None,
        ) -> Any:
            if way == "direct":
                return what
            handler = serve({contract.target: Export(contract, what, lock=lock)})
            if deadline_s is not None:
                policies = {
                    name: replace(p, deadline_s=deadline_s) for name, p in contract.policies.items()
                }
                contract = replace(contract, policies=policies)
            return remote(contract, held.enter_context(connected(handler, way)), bound)

        yield reached


def ahead(way: str) -> int:
    """How many values may have been made before they were asked for."""
    return AHEAD if way in SOCKETS else 0
