"""Whether the services answer. All are asked at once, and one round at a time, however many ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from rwkv_rag.app import Parts
from rwkv_rag.errors import RagError

READY_S = 5.0
KEPT_S = 1.0


class Readiness:
    """Asks the services whether they answer."""

    def __init__(self, parts: Parts) -> None:
        self._checks: Mapping[str, Callable[[], object]] = {
            "llm": lambda: parts.models.writers(),
            "index": lambda: parts.knowledge.bases(),
            "tuning": lambda: parts.tuner.jobs(),
        }
        self._pool = ThreadPoolExecutor(len(self._checks), thread_name_prefix="ready")
        self._lock = threading.Lock()
        self._asked: dict[str, Future[object]] = {}
        self._at = -KEPT_S

    def look(self) -> dict[str, RagError | None]:
        """The error of each service, None where it answers. Takes `READY_S` at most."""
        with self._lock:
            if time.monotonic() - self._at > KEPT_S and all(f.done() for f in self._asked.values()):
                self._at = time.monotonic()
                self._asked = {n: self._pool.submit(ask) for n, ask in self._checks.items()}
            asked = dict(self._asked)
        wait(asked.values(), READY_S)
        return {name: _error(future) for name, future in asked.items()}

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _error(future: Future[object]) -> RagError | None:
    if not future.done():
        return RagError("no answer yet")
    error = future.exception()
    return error if error is None or isinstance(error, RagError) else RagError("it failed")
