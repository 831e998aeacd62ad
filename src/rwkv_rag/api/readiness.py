"""Whether the services answer. All are asked at once, and one round at a time, however many ask."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from rwkv_rag.app import Client
from rwkv_rag.errors import RagError

READY_S = 5.0
KEPT_S = 1.0


class Readiness:
    """Asks the services whether they answer."""

    def __init__(self, parts: Client) -> None:
        self._checks: Mapping[str, Callable[[], object]] = {
            "llm": lambda: parts.models.writers(),
            "index": lambda: parts.knowledge.bases(),
            "tuning": lambda: parts.tuner.jobs(),
        }
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._asked: dict[str, Future[object]] = {}
        self._at = -math.inf

    def look(self) -> dict[str, RagError | None]:
        """The error of each service, None where it answers. Takes `READY_S` at most."""
        with self._lock:
            over = all(future.done() for future in self._asked.values())
            if over and time.monotonic() - self._at > KEPT_S:
                self._at, self._asked = time.monotonic(), self._ask()
            asked = dict(self._asked)
        wait(asked.values(), READY_S)
        return {name: _error(future) for name, future in asked.items()}

    def close(self) -> None:
        """Wait for nobody any more. A later look begins anew."""
        with self._lock:
            pool, self._pool, self._asked, self._at = self._pool, None, {}, -math.inf
        if pool:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self) -> dict[str, Future[object]]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(len(self._checks), thread_name_prefix="ready")
        return {name: self._pool.submit(check) for name, check in self._checks.items()}


def _error(future: Future[object]) -> RagError | None:
    if not future.done():
        return RagError("no answer yet")
    error = future.exception()
    return error if error is None or isinstance(error, RagError) else RagError("it failed")
