"""What Prometheus may ask: requests, times, tokens, what is in flight, the services' queues."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rwkv_rag.errors import MissingExtra, RagError
from rwkv_rag.interfaces import Supervision

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


class Measures:
    """The figures of one server; `supervision`, where there is one, tells the queues."""

    def __init__(self, supervision: Supervision | None = None) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        except ImportError as error:
            raise MissingExtra(
                "the API needs prometheus-client; install it with: pip install 'rwkv-rag[api]'"
            ) from error
        self._registry = CollectorRegistry(auto_describe=True)
        self.requests = Counter(
            "rwkv_rag_requests", "Requests answered.", ["method", "route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "rwkv_rag_request_seconds", "From a request to the end of its answer.", ["route"],
            buckets=BUCKETS, registry=self._registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "rwkv_rag_requests_in_flight", "Requests being answered.", registry=self._registry
        )
        self.tokens = Counter(
            "rwkv_rag_tokens", "Tokens read (prompt) and written (completion).", ["kind"],
            registry=self._registry,
        )  # fmt: skip
        if supervision is not None:
            self._registry.register(_Queues(supervision))

    def count_tokens(self, prompt: int, completion: int = 0) -> None:
        """Add what one answer took."""
        self.tokens.labels("prompt").inc(prompt)
        self.tokens.labels("completion").inc(completion)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._registry)


class Measured:
    """Counts every request that `app` answers, by the route's template and not by its address."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app = app
        self._measures = measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        started = time.perf_counter()
        self._measures.in_flight.inc()
        try:
            await self._app(scope, receive, noted)
        finally:
            self._measures.in_flight.dec()
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._measures.requests.labels(method, route, str(status or "gone")).inc()
        self._measures.seconds.labels(route).observe(seconds)


class _Queues:
    """The queues of the services, asked for when somebody looks."""

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision

    def describe(self) -> Iterable[Metric]:
        """Nothing: a description would ask the services at the start already."""
        return []

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

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
