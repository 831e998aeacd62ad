"""What monitoring asks: figures for Prometheus, and whether the services answer.

Knows no route; `health` serves both.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rwkv_rag.client import Client
from rwkv_rag.errors import RagError
from rwkv_rag.interfaces import Supervision

READY_TIMEOUT_S = 5.0
READY_CACHED_S = 1.0
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


class Metrics:
    """The figures of one server, and of the queues where a supervisor runs the services."""

    def __init__(self, supervision: Supervision | None = None) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=True)
        labels = ["method", "route", "status"]
        self.requests = Counter(
            "rwkv_rag_requests", "Requests answered.", labels, registry=registry
        )
        about = "From a request to the end of its answer."
        self.seconds = Histogram(
            "rwkv_rag_request_seconds", about, ["route"], buckets=BUCKETS, registry=registry
        )
        self.in_flight = Gauge(
            "rwkv_rag_requests_in_flight", "Requests being answered.", registry=registry
        )
        about = "Tokens read (prompt) and written (completion)."
        self.tokens = Counter("rwkv_rag_tokens", about, ["kind"], registry=registry)
        if supervision is not None:
            registry.register(_QueueCollector(supervision))

    def count_tokens(self, prompt: int, completion: int = 0) -> None:
        """Add what one answer took."""
        self.tokens.labels("prompt").inc(prompt)
        self.tokens.labels("completion").inc(completion)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """Counts every request that `app` answers, by the route's template and not by its address."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        started = time.perf_counter()
        try:
            with self._metrics.in_flight.track_inprogress():
                await self._app(scope, receive, noting_status)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.requests.labels(method, route, str(status or "gone")).inc()
        self._metrics.seconds.labels(route).observe(seconds)


class _QueueCollector:
    """The queues of the services, asked for at each collection."""

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision

    def describe(self) -> Iterable[Metric]:
        """Nothing: a description would ask the services at the start already."""
        return []

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily(
            "rwkv_rag_queue_waiting", "Requests that wait.", labels=["service", "priority"]
        )
        busy = GaugeMetricFamily(
            "rwkv_rag_queue_in_flight", "Requests being worked on.", labels=["service"]
        )
        workers = GaugeMetricFamily("rwkv_rag_workers", "Workers.", labels=["service"])
        up = GaugeMetricFamily("rwkv_rag_service_ready", "1: it is ready.", labels=["service"])
        try:
            services = self._supervision.status()
        except RagError:  # the figures of this process are still worth having
            services = []
        for service in services:
            up.add_metric([service.name], float(service.state == "ready"))
            if service.queue is not None:
                for priority, count in service.queue.waiting.items():
                    waiting.add_metric([service.name, priority], count)
                busy.add_metric([service.name], service.queue.in_flight)
                workers.add_metric([service.name], len(service.queue.workers))
        yield from (waiting, busy, workers, up)


class Readiness:
    """Asks all services at once whether they answer; one round at a time, however many ask."""

    def __init__(self, client: Client) -> None:
        self._checks: Mapping[str, Callable[[], object]] = {
            "llm": lambda: client.models.writers(),
            "index": lambda: client.knowledge.bases(),
            "tuning": lambda: client.tuner.jobs(),
        }
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._asked: dict[str, Future[object]] = {}
        self._asked_at = -math.inf

    def check(self) -> dict[str, RagError | None]:
        """The error of each service, None where it answers. Takes `READY_TIMEOUT_S` at most."""
        with self._lock:
            over = all(future.done() for future in self._asked.values())
            if over and time.monotonic() - self._asked_at > READY_CACHED_S:
                self._asked_at, self._asked = time.monotonic(), self._ask()
            asked = dict(self._asked)
        wait(asked.values(), READY_TIMEOUT_S)
        return {name: _error(future) for name, future in asked.items()}

    def close(self) -> None:
        """Wait for no answer any more. A later check starts a new round."""
        with self._lock:
            pool, self._pool, self._asked, self._asked_at = self._pool, None, {}, -math.inf
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
