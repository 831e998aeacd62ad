"""One of a worker's connections, on which it answers one request after another.

The thread that reads a request also answers it. Knows the handler and the envelopes, not the other
sessions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from rwkv_rag.bus import codec, message
from rwkv_rag.bus.connection import Closed, Connection, Disconnected
from rwkv_rag.bus.message import pack
from rwkv_rag.bus.transport import Handler
from rwkv_rag.errors import BadMessage, DeadlineExceeded, Internal, RagError

T = TypeVar("T")
IDLE_STREAM_S = 600.0  # a stream from which nothing is fetched for so long is ended

_log = logging.getLogger(__name__)


class Request:
    """A request for the handler: the `Incoming` of `bus.transport`."""

    def __init__(self, envelope: message.Request, body: codec.Data) -> None:
        self.id = envelope.id
        self._envelope, self._body = envelope, body
        self.cancelled_at: float | None = None  # monotonic clock
        self.reported = False  # as one that does not end

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
        return self.cancelled_at is not None

    def cancel(self) -> None:
        if self.cancelled_at is None:
            self.cancelled_at = time.monotonic()


class Session:
    """`join` is sent first on a connection from `connect`, and repeated while there is no request.

    `request` is the one being answered; setting `ending` ends an idle session.
    """

    def __init__(
        self, handler: Handler, connect: Callable[[], Connection], join: bytes, worker: str
    ) -> None:
        self.request: Request | None = None
        self.ending = False
        self._handler, self._connect, self._join, self._worker = handler, connect, join, worker
        self._credit = 0

    def run(self) -> None:
        """Answer requests until the router says goodbye or the context is closed."""
        done = False
        while not (done or self.ending):
            try:
                self._connection = self._connect()
            except Closed:
                return
            try:
                done = self._serve()
            except Closed:
                return
            except Disconnected:  # whoever waited for the reply cannot be reached any more
                continue
            finally:
                self.request = None
                self._connection.close()

    def thread(self, name: str) -> threading.Thread:
        return threading.Thread(target=self.run, name=name, daemon=True)

    def _serve(self) -> bool:
        """Answer requests; True after a goodbye, False if a new connection should be tried."""
        self._connection.wait_writable()
        self._send_join()
        while not self.ending:
            try:
                received = self._connection.receive()
            except BadMessage as error:
                _log.warning("%s: %s", self._worker, error)
                continue
            if received is None:
                self._send_join()
            elif type(received[0]) is message.Request:
                self._answer(*received)
            elif type(received[0]) is message.Goodbye:
                return True
        return True

    def _send_join(self) -> None:
        with suppress(Disconnected):  # libzmq goes on connecting; it is repeated soon
            self._connection.send(self._join, wait=False)

    # a request

    def _answer(self, envelope: message.Request, body: codec.Data) -> None:
        self.request = request = Request(envelope, body)
        try:
            if envelope.stream:
                self._stream(request)
            else:
                data = codec.encode(self._handler(request))
                self._connection.send(pack(message.Reply(request.id, True)), data)
        except (Disconnected, Closed):
            raise
        except BaseException as error:  # even SystemExit from a handler ends only this answer
            code, text = codec.fault(self._as_ours(error, request))
            self._connection.send(pack(message.Fault(request.id, code, text)))
        finally:
            self.request = None

    def _stream(self, request: Request) -> None:
        """Confirm the call, then send each value when there is credit for it."""
        values = iter(self._handler(request))
        try:
            self._credit = 0
            self._connection.send(pack(message.Opened(request.id)))
            reply = pack(message.Reply(request.id, False))
            while self._wait_for_credit(request):
                for value in values:
                    self._credit -= 1
                    self._connection.send(reply, codec.encode(value))
                    break
                else:
                    break
            self._connection.send(pack(message.End(request.id)))
        finally:
            if close := getattr(values, "close", None):
                close()

    def _wait_for_credit(self, request: Request) -> bool:
        """False when the request was cancelled."""
        until = time.monotonic() + IDLE_STREAM_S
        while not request.cancelled():
            if self._credit > 0:
                return True
            received = self._connection.receive()
            if received is not None:
                self._take(received[0], request)
            elif time.monotonic() > until:
                raise DeadlineExceeded(
                    "nothing was fetched from {method} for {seconds:g} s",
                    method=request.method,
                    seconds=IDLE_STREAM_S,
                )
        return False

    def _take(self, received: Any, request: Request) -> None:
        """A message that came while a stream is open."""
        if type(received) is message.Credit and received.id == request.id:
            self._credit = min(self._credit + received.count, message.WINDOW)
        elif type(received) is message.Cancel and received.id == request.id:
            request.cancel()

    def _as_ours(self, error: BaseException, request: Request) -> RagError:
        """The error to send; a mistake in the program goes to the log and is sent as Internal."""
        if isinstance(error, RagError):
            return error
        method = f"{request.target}.{request.method}"
        _log.error("%s: %s failed", self._worker, method, exc_info=error)
        return Internal(
            "{method} failed in {worker}; its log says more", method=method, worker=self._worker
        )
