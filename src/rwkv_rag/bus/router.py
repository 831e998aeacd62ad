"""The router of a service: clients in front, workers behind. What it decides is in `dispatch`.

One thread runs it, which forwards bodies as they are, and says now and then something to everybody
who waits or is waited for, in order to learn who is gone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import zmq

from rwkv_rag.bus.dispatch import Dispatch
from rwkv_rag.bus.plain import PlainPort
from rwkv_rag.bus.port import Context, Port
from rwkv_rag.bus.security import Guard, RouterSecurity, guard
from rwkv_rag.errors import RagError
from rwkv_rag.types import QueueStatus

TICK_S = 0.1
QUIET_S = 0.5  # the same while nobody waits for anything: a router costs what it is asked
SUSPICION = 3  # ticks after a line was cut in which to look who is gone: sockets learn it later

_log = logging.getLogger(__name__)


class Router:
    """Binds `front` for clients and `back` for workers at once; serves them while `run` runs.

    backlog     how many requests of each priority may wait; one more is Busy
    directory   the front ends of all services by name, for those who ask
    dead_s      a worker that is silent for so long is given up
    Raises InputError and Busy where an address cannot be bound.
    """

    def __init__(
        self,
        service: str,
        front: str,
        back: str,
        *,
        backlog: int = 256,
        security: RouterSecurity | None = None,
        directory: Mapping[str, str] | None = None,
        context: Context | None = None,
        beat_s: float = 1.0,
        dead_s: float = 5.0,
    ) -> None:
        self.service = service
        self._beat_s, self._dead_s = beat_s, dead_s
        self._tick_s, self._quiet_s = min(TICK_S, beat_s), min(QUIET_S, beat_s)
        self._stopping = False
        self._garbage, self._garbage_logged = 0, 0.0
        self._look_soon = 0
        self._guard: Guard | None = None
        self._next_beat = self._next_look = time.monotonic()
        with ExitStack() as opened:
            if context is None:
                context = zmq.Context()
                opened.callback(context.term)
            if security is not None:
                self._guard = opened.enter_context(guard(context, security))
            self._port: Port | PlainPort
            if security is None and PlainPort.fits(front, back):
                self._port = PlainPort(front, back, silence_s=dead_s)
            else:
                self._port = Port(context, front, back, security=security, silence_s=dead_s)
            opened.callback(self._port.close)
            self._open = opened.pop_all()
        self.front, self.back = self._port.front, self._port.back
        self._dispatch = Dispatch(
            service, self._port, backlog=backlog, dead_s=dead_s, directory=directory or {}
        )
        self.status: Callable[[], QueueStatus] = self._dispatch.status

    def run(self) -> None:
        """Serve until `stop`; closes everything at its end."""
        _log.info("%s: clients at %s, workers at %s", self.service, self.front, self.back)
        receive, dispatch = self._port.receive, self._dispatch.on_message
        now, tick_at = time.monotonic, 0.0
        self._port.wait(self._tick_s)
        try:
            while not self._stopping:
                try:
                    if (received := receive()) is not None:
                        dispatch(*received)
                except Exception as error:
                    self._complain(error)
                if now() >= tick_at:
                    quiet = self._tick()
                    self._port.wait(self._quiet_s if quiet else self._tick_s)
                    tick_at = 0.0 if quiet else now() + TICK_S  # the next message ends the quiet
        finally:
            self.close()

    def stop(self) -> None:
        """End `run` soon; from any thread or a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """Let go of the sockets; `run` does it at its end."""
        self._open.close()

    def _complain(self, error: Exception) -> None:
        """Whatever a peer says, the others go on being served."""
        self._garbage += 1
        now = time.monotonic()
        if now - self._garbage_logged > 1:
            self._garbage_logged = now
            known = isinstance(error, (RagError, ValueError, KeyError))
            what = "%s: message %d of no use: %r"
            _log.warning(what, self.service, self._garbage, error, exc_info=not known)

    def _tick(self) -> bool:
        """What time asks for, every `TICK_S`; whether there is nothing to watch until a message."""
        now = time.monotonic()
        if self._dispatch.backlog.size:
            self._dispatch.expire(now)
        self._port.keep(now)
        if self._port.cut():
            self._look_soon = SUSPICION
        if now >= self._next_beat:
            self._next_beat = now + self._beat_s
            self._dispatch.bury(now)
            if self._guard is not None:
                self._dispatch.shut_out(self._guard.shut_out())
        if self._look_soon or now >= self._next_look:
            self._look_soon = max(0, self._look_soon - 1)
            self._next_look = now + self._dead_s
            self._dispatch.look()
        return self._dispatch.idle and not self._look_soon
