"""CURVE on sockets: who may speak to a router, encrypted on the way. Knows no message.

Keys are checked when a connection is made (ZAP, by `zmq.auth`) and again while it lasts, so that a
key that is taken away ends what it began. No connection that leaves the machine goes without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import zmq
from zmq.auth.thread import ThreadAuthenticator

from rwkv_rag.bus import keyring
from rwkv_rag.bus.address import Address
from rwkv_rag.errors import InputError, NotAllowed

DOMAIN = "rwkv-rag"
REFUSALS = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
FAILURES = REFUSALS | int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
"""What a socket's monitor tells of keys; without detail it may also be a line that was cut."""


@dataclass(frozen=True, slots=True)
class PeerSecurity:
    """The keys of one who connects: a client or a worker. Keys are in Z85, as ZeroMQ writes them.

    server   the public key of the router; another router is not spoken to
    """

    server: bytes
    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> PeerSecurity:
        """From the file that `rwkv-rag keys add` made. Raises InputError."""
        key = keyring.read_peer(file)
        return cls(key.server, key.public, key.secret)

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Make ready a socket that will connect."""
        socket.curve_serverkey = self.server
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret


@dataclass(frozen=True, slots=True)
class RouterSecurity:
    """The keys of one who binds. `allowed` is the folder with the public keys of peers, *.key."""

    public: bytes
    secret: bytes = field(repr=False)
    allowed: Path

    @classmethod
    def load(cls, home: Path) -> RouterSecurity:
        """The server's keys under the data directory `home`. Raises InputError where none are."""
        ring = keyring.Keyring(home)
        key = ring.server()
        return cls(key.public, key.secret, ring.allowed)

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Make ready a socket that will bind; it accepts nobody unless `guard` is at work."""
        socket.curve_server = True
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret
        socket.zap_domain = DOMAIN.encode()
        socket.zap_enforce_domain = True  # without a guard: refuse all instead of none

    def peer(self) -> PeerSecurity:
        """For processes of this server itself: whoever can read its secret may as well connect."""
        return PeerSecurity(self.public, self.public, self.secret)

    def admits(self, public: bytes) -> bool:
        """Whether the owner of the public key (Z85) may speak to this router now."""
        return public == self.public or public in keyring.allowed_keys(self.allowed)


Security: TypeAlias = PeerSecurity | RouterSecurity


@contextmanager
def guard(context: zmq.Context[zmq.Socket[bytes]], security: RouterSecurity) -> Iterator[None]:
    """Answers for the sockets of `context`, one router's, who may connect to them."""
    authenticator = ThreadAuthenticator(context)
    authenticator.configure_curve_callback(DOMAIN, _Doorkeeper(security))
    authenticator.start()
    try:
        yield
    finally:
        authenticator.stop()


@dataclass(frozen=True, slots=True)
class _Doorkeeper:
    """What `zmq.auth` asks about every key."""

    security: RouterSecurity

    def callback(self, domain: str, key: bytes) -> bool:
        return self.security.admits(key)


def check_open(address: Address, security: Security | None) -> None:
    """Refuse to bind or connect beyond this machine without keys. Raises InputError."""
    if security is None and not address.loopback:
        raise InputError(
            f"{address.url} is not on this machine alone and needs keys; make them with"
            " `rwkv-rag keys`, or use 127.0.0.1"
        )


def refusal(url: str, has_keys: bool) -> NotAllowed:
    """For one who is not let in."""
    if has_keys:
        return NotAllowed(
            f"{url} does not accept the keys of this side; make new ones there with"
            " `rwkv-rag keys add`"
        )
    return NotAllowed(f"{url} asks for keys; make them there with `rwkv-rag keys add`")
