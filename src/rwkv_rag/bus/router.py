"""The router of a service: clients in front, workers behind. What it decides is in `dispatch`.

One thread runs it, which forwards bodies as they are, and says now and then something to everybody
who waits or is waited for, in order to learn who is gone.
"""

from __future__ import annotations

import logging
import select
import socket as sockets
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress

import zmq

from rwkv_rag.bus.dispatch import Dispatch
from rwkv_rag.bus.port import Context, Port
from rwkv_rag.bus.security import RouterSecurity, guard
from rwkv_rag.errors import RagError
from rwkv_rag.types import QueueStatus

BATCH = 64  # messages that are taken from one side before the other has its turn
WAITING_TICK_S = 0.05
SUSPICION_S = (0.0, 0.02, 0.1)  # when to look who is gone after a line was cut, and again

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
        self._stopping = False
        self._garbage, self._garbage_logged = 0, 0.0
        self._looks: deque[float] = deque()
        with ExitStack() as opened:
            self._woken, self._waker = sockets.socketpair()
            opened.callback(self._woken.close)
            opened.callback(self._waker.close)
            if context is None:
                context = zmq.Context()
                opened.callback(context.term)
            if security is not None:
                opened.enter_context(guard(context, security))
            self._front = Port(context, front, security=security, silence_s=dead_s)
            opened.callback(self._front.close)
            self._back = Port(context, back, security=security, silence_s=dead_s)
            opened.callback(self._back.close)
            self._open = opened.pop_all()
        self.front, self.back = self._front.url, self._back.url
        self._dispatch = Dispatch(
            service,
            self._front,
            self._back,
            backlog=backlog,
            dead_s=dead_s,
            directory=directory or {},
        )
        self.status: Callable[[], QueueStatus] = self._dispatch.status

    def run(self) -> None:
        """Serve until `stop`; closes everything at its end."""
        _log.info("%s: clients at %s, workers at %s", self.service, self.front, self.back)
        self._sides = {self._front.fd, self._back.fd}
        cuts = {self._front.cuts_fd, self._back.cuts_fd}
        wait = _waiter({*self._sides, *cuts, self._woken.fileno()})
        self._cut()  # a socket wakes only who has seen it empty
        self._drain(self._sides)
        self._next_beat = self._next_look = time.monotonic()
        try:
            while not self._stopping:
                ready = wait(self._pause_s())
                self._drain(ready)
                if not ready <= self._sides and self._cut():
                    self._looks = deque(time.monotonic() + delay for delay in SUSPICION_S)
                self._tick(time.monotonic())
        finally:
            self.close()

    def stop(self) -> None:
        """End `run`; from any thread or a signal handler."""
        self._stopping = True
        with suppress(OSError):  # closed already
            self._waker.send(b"x")

    def close(self) -> None:
        """Let go of the sockets; `run` does it at its end."""
        self._open.close()

    def _pause_s(self) -> float:
        """How long nothing is to be done but what messages ask for."""
        if self._looks:
            return 0.01
        if self._dispatch.backlog.size:
            return WAITING_TICK_S
        return max(0.001, self._next_beat - time.monotonic())

    def _drain(self, ready: set[int]) -> None:
        """Take messages until neither side has any. Only then may `wait` be trusted: sending on a
        socket can swallow the sign that it has something to read."""
        front, back, dispatch = self._front, self._back, self._dispatch
        look_front, look_back = front.fd in ready, back.fd in ready
        while look_front or look_back:
            if look_front:
                look_front, answered = self._take(front, dispatch.from_client)
                look_back = look_back or (answered and back.readable())
            if look_back:
                look_back, answered = self._take(back, dispatch.from_worker)
                look_front = look_front or (answered and front.readable())

    def _cut(self) -> bool:
        """Whether lines were cut, whosever they were."""
        front, back = self._front.cut(), self._back.cut()
        return front or back

    def _take(self, port: Port, way: Callable[..., None]) -> tuple[bool, bool]:
        """Take what there is: whether there is more, and whether there was anything."""
        taken = False
        for _ in range(BATCH):
            try:
                if (received := port.receive()) is None:
                    return False, taken
                taken = True
                way(*received)
            except Exception as error:
                self._complain(error)
            if not port.readable():
                return False, taken
        return True, taken

    def _complain(self, error: Exception) -> None:
        """Whatever a peer says, the others go on being served."""
        self._garbage += 1
        now = time.monotonic()
        if now - self._garbage_logged > 1:
            self._garbage_logged = now
            known = isinstance(error, (RagError, ValueError, KeyError))
            what = "%s: message %d of no use: %r"
            _log.warning(what, self.service, self._garbage, error, exc_info=not known)

    def _tick(self, now: float) -> None:
        """What time asks for."""
        if self._looks and now >= self._looks[0]:
            while self._looks and now >= self._looks[0]:
                self._looks.popleft()
            self._dispatch.look()
        if self._dispatch.backlog.size:
            self._dispatch.expire(now)
        if now >= self._next_beat:
            self._next_beat = now + self._beat_s
            self._dispatch.bury(now)
            if now >= self._next_look:
                self._next_look = now + self._dead_s
                self._dispatch.look()


def _waiter(sources: Iterable[int]) -> Callable[[float], set[int]]:
    """Waits for so many seconds or until some sources have something to read, and says which.

    The system's own call, since `zmq.Poller` takes several times as long.
    """
    if hasattr(select, "poll"):
        poller = select.poll()
        for source in sources:
            poller.register(source, select.POLLIN)
        return lambda wait_s: {source for source, _ in poller.poll(wait_s * 1000)}
    every = tuple(sources)
    return lambda wait_s: set(select.select(every, (), (), wait_s)[0])
