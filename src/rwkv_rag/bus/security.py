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
        return public in self.admitted()

    def admitted(self) -> frozenset[bytes]:
        """All public keys whose owners may."""
        return keyring.allowed_keys(self.allowed) | {self.public}


Security: TypeAlias = PeerSecurity | RouterSecurity


class Guard:
    """Lets in who has a key, and remembers whom it let in."""

    def __init__(self, security: RouterSecurity) -> None:
        self._security = security
        self._let_in: set[bytes] = set()

    def callback(self, domain: str, key: bytes) -> bool:
        """What `zmq.auth` asks, in its thread, about every connection."""
        if not self._security.admits(key):
            return False
        self._let_in.add(key)
        return True

    def shut_out(self) -> frozenset[str]:
        """The keys of those who came in and may not be here any more."""
        gone = self._let_in.copy() - self._security.admitted()
        return frozenset(key.decode() for key in gone)


@contextmanager
def guard(context: zmq.Context[zmq.Socket[bytes]], security: RouterSecurity) -> Iterator[Guard]:
    """Answers for the sockets of `context`, one router's, who may connect to them."""
    doorkeeper = Guard(security)
    authenticator = ThreadAuthenticator(context)
    authenticator.configure_curve_callback(DOMAIN, doorkeeper)
    authenticator.start()
    try:
        yield doorkeeper
    finally:
        authenticator.stop()


def check_open(address: Address, security: Security | None) -> None:
    """Refuse to bind or connect beyond this machine without keys. Raises InputError."""
    if security is None and not address.loopback:
        raise InputError(
            "{url} is not on this machine alone and needs keys; make them with `rwkv-rag "
            "keys`, or use 127.0.0.1",
            url=address.url,
        )


def refusal(url: str, has_keys: bool) -> NotAllowed:
    """For one who is not let in."""
    if has_keys:
        return NotAllowed(
            "{url} does not accept the keys of this side; make new ones there with "
            "`rwkv-rag keys add`",
            url=url,
        )
    return NotAllowed("{url} asks for keys; make them there with `rwkv-rag keys add`", url=url)


def shut_out() -> NotAllowed:
    """For one whose key was taken away while it was connected."""
    return NotAllowed(
        "the key of this side is not accepted any more; make a new one with `rwkv-rag keys add`"
    )
