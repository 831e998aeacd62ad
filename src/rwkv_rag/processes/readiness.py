"""How each kind of process is asked once whether it is ready. Nobody waits here.

Knows addresses, and nothing of how a process came to be.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from functools import partial

from rwkv_rag.bus.client import QueueClient
from rwkv_rag.errors import RagError

Ready = Callable[[int], bool]
"""Whether the process with this id is ready now."""

HTTP_S = 2.0


def routes(queue: QueueClient) -> Ready:
    """A router is ready when it tells the state of its queue."""

    def ready(_: int) -> bool:
        try:
            queue.status()
        except RagError:
            return False
        return True

    return ready


def works(queue: QueueClient) -> Ready:
    """A worker is ready when its router knows it."""

    def ready(pid: int) -> bool:
        try:
            return any(worker.facts.get("pid") == pid for worker in queue.status().workers)
        except RagError:
            return False

    return ready


def answers_http(host: str, port: int, path: str) -> Ready:
    """A server is ready when it answers with 200."""
    return partial(_answers, host, port, path)


def _answers(host: str, port: int, path: str, _: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=HTTP_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
