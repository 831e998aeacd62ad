"""The router of a service: one socket for clients, one for workers, and the thread between them.

What it decides is in `dispatch`; here are the sockets, the loop and what has to be done regularly.
Bodies are forwarded unread.
"""

from __future__ import annotations

import logging
import socket as sockets
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import zmq

from rwkv_rag.bus.address import Address
from rwkv_rag.bus.connection import Context, Socket, configure
from rwkv_rag.bus.dispatch import Dispatcher, PeerBusy, PeerGone
from rwkv_rag.bus.queues import Frame
from rwkv_rag.bus.security import Authenticator, RouterSecurity, require_keys
from rwkv_rag.errors import BadMessage, Busy, InputError, Message, RagError
from rwkv_rag.types import QueueStatus

HIGH_WATER = 512  # messages queued for one peer: more than a slow client's credit and pings
AT_ONCE = 64  # messages taken from one socket before the other is looked at
TICK_S = 0.1  # between two rounds of the regular work
PROBES = 3  # ticks after a disconnect in which peers are probed: sockets learn of it late

_log = logging.getLogger(__name__)


class RouterSocket:
    """A ROUTER bound at `url`; `address` is where it is really bound (port 0 takes a free one)."""

    def __init__(
        self, context: Context, url: str, security: RouterSecurity | None, silence_s: float
    ) -> None:
        address = Address.parse(url)
        require_keys(address, security)
        with ExitStack() as opened:
            self.socket: Socket = context.socket(zmq.ROUTER)
            opened.callback(self.socket.close, 0)
            configure(self.socket, security, silence_s)
            self.socket.ipv6 = address.ipv6
            self.socket.router_mandatory = True
            self.socket.sndhwm = HIGH_WATER
            self.disconnects: Socket = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            opened.callback(self.disconnects.close, 0)
            opened.callback(self.socket.disable_monitor)
            self.address = _bind(self.socket, address)
            self.close = opened.pop_all().close

    def receive(self) -> tuple[bytes, Frame, Frame | None]:
        """Identity, envelope, body. Raises zmq.Again where there is none, BadMessage."""
        identity, *frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
        if not 1 <= len(frames) <= 2:
            raise BadMessage("a message of {count} frames", count=len(frames))
        return identity.bytes, frames[0], frames[1] if len(frames) > 1 else None

    def send(self, identity: bytes, envelope: Frame, body: Frame | None = None) -> None:
        """Raises PeerGone, and PeerBusy where too much waits for the peer already."""
        frames = (identity, envelope) if body is None else (identity, envelope, body)
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            raise PeerBusy from None
        except zmq.ZMQError as error:
            raise PeerGone from error

    def had_disconnects(self) -> bool:
        """Whether connections were lost since the last call."""
        found = False
        while self.disconnects.poll(0):
            self.disconnects.recv_multipart()
            found = True
        return found


class Router:
    """Binds `front` for clients and `back` for workers at once; serves them while `run` runs.

    backlog     how many requests of each priority may wait; further ones get Busy
    directory   the front addresses of all services by name, for clients
    dead_s      a worker that is silent for so long counts as lost
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
        self._wake_receiver, self._wake_sender = sockets.socketpair()
        self._bad_messages, self._bad_logged_at = 0, 0.0
        self._probes = 0
        self._next_beat = self._next_probe = time.monotonic()
        self._authenticator: Authenticator | None = None
        with ExitStack() as opened:
            opened.callback(self._wake_receiver.close)
            opened.callback(self._wake_sender.close)
            if context is None:
                context = zmq.Context()
                opened.callback(context.term)
            if security is not None:
                self._authenticator = Authenticator(context, security)
                opened.callback(self._authenticator.close)
            self._clients = RouterSocket(context, front, security, dead_s)
            opened.callback(self._clients.close)
            self._workers = RouterSocket(context, back, security, dead_s)
            opened.callback(self._workers.close)
            self._opened = opened.pop_all()
        self.front, self.back = self._clients.address.url, self._workers.address.url
        self._dispatcher = Dispatcher(
            service,
            self._clients,
            self._workers,
            backlog=backlog,
            dead_s=dead_s,
            directory=directory or {},
        )
        self.status: Callable[[], QueueStatus] = self._dispatcher.status

    def run(self) -> None:
        """Serve until `stop`; closes everything at its end."""
        _log.info("%s: clients at %s, workers at %s", self.service, self.front, self.back)
        poller = zmq.Poller()
        handlers = {
            self._workers: self._dispatcher.on_worker_message,
            self._clients: self._dispatcher.on_client_message,
        }
        for socket in handlers:
            poller.register(socket.socket, zmq.POLLIN)
        poller.register(self._wake_receiver.fileno(), zmq.POLLIN)
        next_tick = 0.0
        try:
            while not self._stopping:
                ready = dict(poller.poll(int(TICK_S * 1000)))
                for socket, handle in handlers.items():
                    if socket.socket in ready:
                        self._handle_messages(socket, handle)
                if time.monotonic() >= next_tick:
                    self._tick()
                    next_tick = time.monotonic() + TICK_S
        finally:
            self.close()

    def stop(self) -> None:
        """End `run` soon; from any thread or a signal handler."""
        self._stopping = True
        with suppress(OSError):  # ended already
            self._wake_sender.send(b"x")

    def close(self) -> None:
        """Close the sockets; `run` does it at its end."""
        self._opened.close()

    def _handle_messages(
        self, socket: RouterSocket, handle: Callable[[bytes, Frame, Frame | None], None]
    ) -> None:
        for _ in range(AT_ONCE):
            try:
                handle(*socket.receive())
            except zmq.Again:
                return
            except Exception as error:  # whatever a peer sends, the others go on being served
                self._log_bad_message(error)

    def _log_bad_message(self, error: Exception) -> None:
        """At most once a second."""
        self._bad_messages += 1
        now = time.monotonic()
        if now - self._bad_logged_at > 1:
            self._bad_logged_at = now
            expected = isinstance(error, (RagError, ValueError, KeyError))
            text = "%s: unusable message number %d: %r"
            _log.warning(text, self.service, self._bad_messages, error, exc_info=not expected)

    def _tick(self) -> None:
        """The regular work."""
        now = time.monotonic()
        self._dispatcher.expire(now)
        if self._clients.had_disconnects() | self._workers.had_disconnects():
            self._probes = PROBES
        if now >= self._next_beat:
            self._next_beat = now + self._beat_s
            self._dispatcher.remove_silent_workers(now)
            if self._authenticator is not None:
                self._dispatcher.revoke(self._authenticator.revoked())
        if self._probes or now >= self._next_probe:
            self._probes = max(0, self._probes - 1)
            self._next_probe = now + self._dead_s
            self._dispatcher.probe()


def _bind(socket: Socket, address: Address) -> Address:
    """Bind; the address with the port that the system chose."""
    in_use = Busy("the address {url} is in use by another program", url=address.url)
    if address.scheme == "ipc" and _is_taken(Path(address.host)):
        raise in_use
    try:
        socket.bind(address.url)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise in_use from error
        raise InputError(
            "the address {url} cannot be used: {reason}",
            url=address.url,
            reason=Message(error.strerror),
        ) from error
    if address.scheme != "tcp" or address.port:
        return address
    endpoint = socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
    return replace(address, port=int(endpoint.rpartition(":")[2]))


def _is_taken(path: Path) -> bool:
    """Whether libzmq must not bind to `path`: it deletes what is there, even a socket in use.

    A socket that a killed router left refuses connections and may go.
    """
    try:
        if not path.is_socket():
            return path.exists()
        with sockets.socket(sockets.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    return True
