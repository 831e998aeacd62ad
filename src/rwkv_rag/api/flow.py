"""Answers that take time: steps of a blocking iterator, sent as they come or gathered into one.

The iterator is advanced in a thread, and only when the client has taken what came before. When the
client goes away it is closed, so that whoever writes is free. What fails before the first step has
a status of its own; later, the error is the last thing sent.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import anyio
from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rwkv_rag.api.faults import fault_of
from rwkv_rag.api.json import encoded
from rwkv_rag.errors import RagError

AT_ONCE = 128
"""Streams that may wait for their next step at the same moment; each holds a thread meanwhile."""

Step = Mapping[str, Any] | None
"""What is sent, or None: there is nothing to send yet, but the client may have gone."""

_log = logging.getLogger(__name__)
_END: Final = object()


@dataclass(frozen=True, slots=True)
class Form:
    """How steps look on the wire; `last` follows the last of them."""

    media_type: str
    before: bytes
    after: bytes
    last: bytes = b""

    def step(self, value: Mapping[str, Any]) -> bytes:
        return self.before + encoded(value) + self.after


OPENAI = Form("text/event-stream", b"data: ", b"\n\n", b"data: [DONE]\n\n")
EVENTS = Form("text/event-stream", b"data: ", b"\n\n")
LINES = Form("application/x-ndjson", b"", b"\n")


class Slots:
    """The threads that streams may hold; apart from those of short requests."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._limiter: CapacityLimiter | None = None

    @property
    def limiter(self) -> CapacityLimiter:
        """Made when first used, in the loop that uses it."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._at_once)
        return self._limiter


class Flow(Response):
    """Sends the steps of an iterator in a form, or (no form) its last step as one JSON object."""

    def __init__(self, steps: Iterator[Step], *, form: Form | None, slots: Slots) -> None:
        self.status_code = 200
        self.background = None
        self._steps = steps
        self._failed = False
        self._form = form
        self._slots = slots
        media_type = form.media_type if form else "application/json"
        self.media_type = media_type
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        if "content-length" in self.headers:
            del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failed: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            try:
                await (self._send_steps(send) if self._form else self._send_last(send))
            except Exception as error:
                failed = error
            finally:
                with anyio.CancelScope(shield=True):
                    await self._in_thread(self._close)
            tasks.cancel_scope.cancel()
        if failed is not None:
            raise failed

    async def _send_steps(self, send: Send) -> None:
        form = self._form
        assert form is not None
        step = await self._first()
        await self._start(send)
        while step is not _END:
            if step is not None:
                await send(_part(form.step(step)))
            step = await self._next_or_error()
        await self._in_thread(self._close)  # whoever has the last word finds nothing left over
        await send(_part(form.last, more=False))

    async def _send_last(self, send: Send) -> None:
        last: Mapping[str, Any] = {}
        step = await self._first()
        while step is not _END:
            last = step or last
            step = await self._next()
        await self._in_thread(self._close)
        body = encoded(last)
        self.headers["content-length"] = str(len(body))
        await self._start(send)
        await send(_part(body, more=False))

    async def _start(self, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )

    async def _first(self) -> Any:
        """The first step is always taken: a generator that has not begun cannot be closed."""
        with anyio.CancelScope(shield=True):
            return await self._next()

    async def _next(self) -> Any:
        if self._failed:
            return _END
        return await self._in_thread(lambda: next(self._steps, _END))

    async def _next_or_error(self) -> Any:
        try:
            return await self._next()
        except Exception as error:
            if not isinstance(error, RagError):
                _log.exception("a stream failed")
            self._failed = True
            return {"type": "error", **fault_of(error).body()}

    async def _in_thread(self, work: Any) -> Any:
        return await to_thread.run_sync(work, limiter=self._slots.limiter)

    def _close(self) -> None:
        close(self._steps)


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except HTTPException:  # a body that nobody wanted, and too large: the answer goes on
        return
    scope.cancel()


def close(iterator: Iterator[Any]) -> None:
    """End an iterator that can be ended."""
    if ending := getattr(iterator, "close", None):
        ending()


def _part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}
