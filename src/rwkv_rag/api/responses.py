"""Responses: JSON, errors, and answers that take time and are sent step by step.

A streamed response takes its steps from a blocking iterator, in a thread, and only when the client
has taken the step before. When the client goes away the iterator is closed, so that the work behind
it ends. An error before the first step has an HTTP status of its own; a later one is the last step.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from rwkv_rag.api.problems import Problem, problem_of
from rwkv_rag.errors import RagError

MAX_WAITING_STREAMS = 128
"""Streams that may wait for their next step at once; each holds a thread meanwhile."""

Step = Mapping[str, Any] | None
"""What is sent; its field "type" is for streams only. None: nothing to send yet, but a gone client
can be noticed."""

T = TypeVar("T")
_log = logging.getLogger(__name__)
_END: Final = object()
_stream_threads: RunVar[CapacityLimiter] = RunVar("stream_threads")


class Json(JSONResponse):
    """Compact JSON, with null for numbers that JSON does not have (NaN, infinity)."""

    def render(self, content: Any) -> bytes:
        return encoded(content)


def problem_response(problem: Problem) -> Json:
    """An error as a response in the current language."""
    return Json(problem.body(), problem.status, problem.headers)


def encoded(value: Any) -> bytes:
    """JSON of dictionaries, lists, texts and numbers."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, slots=True)
class Format:
    """How the steps of a stream are written; `last` follows the last of them."""

    media_type: str
    before: bytes
    after: bytes
    last: bytes = b""

    def step(self, value: Mapping[str, Any]) -> bytes:
        return self.before + encoded(value) + self.after


OPENAI_EVENTS = Format("text/event-stream", b"data: ", b"\n\n", b"data: [DONE]\n\n")
EVENTS = Format("text/event-stream", b"data: ", b"\n\n")
LINES = Format("application/x-ndjson", b"", b"\n")


class StepsResponse(Response):
    """Sends the steps of an iterator in a format, or its last step as one JSON object."""

    def __init__(self, steps: Iterator[Step], format: Format | None = None) -> None:
        media_type = format.media_type if format else "application/json"
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(media_type=media_type, headers=headers)
        del self.headers["content-length"]
        self._steps = steps
        self._failed = False
        self._format = format

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failed: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_disconnect, receive, tasks.cancel_scope)
            try:
                if self._format:
                    await self._send_steps(self._format, send)
                else:
                    await self._send_last(send)
            except Exception as error:
                failed = error
            finally:
                with anyio.CancelScope(shield=True):
                    await self._close()
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def _send_steps(self, format: Format, send: Send) -> None:
        step = await self._first()
        await self._start(send)
        while step is not _END:
            if step is not None:
                await send(_part(format.step(step)))
            step = await self._next_or_error()
        # Closed before the end is sent, so that a client that reads it finds the work ended.
        await self._close()
        await send(_part(format.last, more=False))

    async def _send_last(self, send: Send) -> None:
        last: Mapping[str, Any] = {}
        step = await self._first()
        while step is not _END:
            last = step or last
            step = await self._next()
        await self._close()
        body = encoded({name: value for name, value in last.items() if name != "type"})
        self.headers["content-length"] = str(len(body))
        await self._start(send)
        await send(_part(body, more=False))

    async def _start(self, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)

    async def _first(self) -> Any:
        """The first step is always taken: a generator that has not begun cannot be closed."""
        with anyio.CancelScope(shield=True):
            return await self._next()

    async def _next(self) -> Any:
        return _END if self._failed else await _in_thread(lambda: next(self._steps, _END))

    async def _next_or_error(self) -> Any:
        try:
            return await self._next()
        except Exception as error:
            if not isinstance(error, RagError):
                _log.exception("a stream failed")
            self._failed = True
            return {"type": "error", **problem_of(error).body()}

    async def _close(self) -> None:
        await _in_thread(lambda: close(self._steps))


async def _in_thread(work: Callable[[], Any]) -> Any:
    """Run blocking work in one of the threads for streams, apart from those of short requests."""
    limiter = _stream_threads.get(None)
    if limiter is None:
        limiter = CapacityLimiter(MAX_WAITING_STREAMS)
        _stream_threads.set(limiter)
    return await to_thread.run_sync(work, limiter=limiter)


async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except HTTPException:  # a body that no endpoint reads, and too large: the response goes on
        return
    scope.cancel()


def close(iterator: Iterator[Any]) -> None:
    """End an iterator that has a method for it; generators and replies of services have."""
    if method := getattr(iterator, "close", None):
        method()


@contextmanager
def closing_iterator(iterator: Iterator[T]) -> Iterator[Iterator[T]]:
    """Close an iterator at the end of the block."""
    try:
        yield iterator
    finally:
        close(iterator)


def _part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}
