"""One request after another on a connection of its own: what a worker has `slots` of.

Knows the handler and the envelopes; who else works, and whether the worker goes on, it does not
know. The thread that reads the request is the thread that answers it: nothing is handed over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.connection import Closed, Link, Lost, Message
from rwkv_rag.bus.message import pack
from rwkv_rag.bus.transport import Handler
from rwkv_rag.errors import BadMessage, DeadlineExceeded, Internal, RagError

T = TypeVar("T")
PATIENCE_S = 600.0  # how long a stream stays open that nobody fetches from

_log = logging.getLogger(__name__)


class Request:
    """A request at its handler: the `Incoming` of `bus.transport`."""

    __slots__ = ("_body", "_envelope", "gone_at", "id", "reported")

    def __init__(self, envelope: message.Request, body: codec.Data) -> None:
        self.id = envelope.id
        self._envelope, self._body = envelope, body
        self.gone_at: float | None = None  # when its caller went, by the monotonic clock
        self.reported = False  # that it does not end

    @property
    def target(self) -> str:
        return self._envelope.target

    @property
    def method(self) -> str:
        return self._envelope.method

    @property
    def bound(self) -> Mapping[str, str]:
        return self._envelope.bound

    def arguments(self, type: type[T]) -> T:
        value: T = codec.decode(self._body, type)
        return value

    def cancelled(self) -> bool:
        return self.gone_at is not None

    def cancel(self) -> None:
        if self.gone_at is None:
            self.gone_at = time.monotonic()


class Slot:
    """`connect` opens a connection; `join` is said on it first, and again while nothing is to do.

    `request` is what is worked on, and `ending` tells an idle slot to end without a Goodbye.
    """

    def __init__(
        self, handler: Handler, connect: Callable[[], Link], join: bytes, name: str
    ) -> None:
        self.request: Request | None = None
        self.ending = False
        self._handler, self._connect, self._join, self._name = handler, connect, join, name
        self._turn = threading.Lock()  # somebody uses the connection
        self._credit = 0

    def run(self) -> None:
        """Work until the router says goodbye or the context is closed."""
        goodbye = False
        while not (goodbye or self.ending):
            try:
                self._connection = self._connect()
            except Closed:
                return
            try:
                goodbye = self._serve()
            except Closed:
                return
            except Lost:  # what was worked on has nobody to answer to any more
                continue
            finally:
                self.request = None
                with self._turn:
                    self._connection.close()

    def keep(self) -> None:
        """Show the router that this side lives while the slot computes; from another thread."""
        if self.request is not None and self._turn.acquire(blocking=False):
            try:
                self._connection.keep()
            finally:
                self._turn.release()

    def _serve(self) -> bool:
        """Whether this was the end; False for another try with a new connection."""
        with self._turn:
            self._connection.connected()
        self._greet()
        while not self.ending:
            try:
                received = self._hear()
            except BadMessage as error:
                _log.warning("%s: %s", self._name, error)
                continue
            if received is None:
                self._greet()
            elif type(received[0]) is message.Request:
                self._answer(*received)
            elif type(received[0]) is message.Goodbye:
                return True
        return True

    def _say(self, envelope: bytes, *body: codec.Data, wait: bool = True) -> None:
        with self._turn:
            self._connection.send(envelope, *body, wait=wait)

    def _hear(self) -> Message | None:
        with self._turn:
            return self._connection.receive()

    def _greet(self) -> None:
        with suppress(Lost):  # the next word shows whether the line is gone or about to come
            self._say(self._join, wait=False)

    # a request

    def _answer(self, envelope: message.Request, body: codec.Data) -> None:
        self.request = request = Request(envelope, body)
        try:
            if envelope.stream:
                self._stream(request)
            else:
                data = codec.pieces(self._handler(request))
                self._say(pack(message.Reply(request.id, True)), *data)
        except (Lost, Closed):
            raise
        except BaseException as error:  # a handler that ends the program ends one answer
            fault = codec.fault(self._ours(error, request))
            self._say(pack(message.Fault(request.id, *fault)))
        finally:
            self.request = None

    def _stream(self, request: Request) -> None:
        """Say that the method was called, then each value when it may be sent."""
        values = iter(self._handler(request))
        try:
            self._credit = 0
            self._say(pack(message.Opened(request.id)))
            reply = pack(message.Reply(request.id, False))
            while self._may_go_on(request):
                for value in values:
                    self._credit -= 1
                    self._say(reply, *codec.pieces(value))
                    break
                else:
                    break
            self._say(pack(message.End(request.id)))
        finally:
            _close(values)

    def _may_go_on(self, request: Request) -> bool:
        """Wait for credit; False when the caller has gone."""
        until = time.monotonic() + PATIENCE_S
        while not request.cancelled():
            if self._credit > 0:
                return True
            received = self._hear()
            if received is not None:
                self._take_note(request, received[0])
            elif time.monotonic() > until:
                raise DeadlineExceeded(
                    "nobody fetched from {method} for {patience_s:g} s",
                    method=request.method,
                    patience_s=PATIENCE_S,
                )
        return False

    def _take_note(self, request: Request, said: Any) -> None:
        """What the router says while a stream is open."""
        if type(said) is message.Credit and said.id == request.id:
            self._credit = min(self._credit + said.count, message.WINDOW)
        elif type(said) is message.Cancel and said.id == request.id:
            request.cancel()

    def _ours(self, error: BaseException, request: Request) -> RagError:
        """What the caller hears of an error; a mistake in the program stays in the log."""
        if isinstance(error, RagError):
            return error
        what = f"{request.target}.{request.method}"
        _log.error("%s: %s failed", self._name, what, exc_info=error)
        return Internal("{what} failed in {name}; its log says more", what=what, name=self._name)


def _close(values: Iterator[Any]) -> None:
    if close := getattr(values, "close", None):
        close()
