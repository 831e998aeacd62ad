"""CURVE keys on sockets: authentication and encryption between machines. Knows no message.

Keys are checked when a connection is made (ZAP, by `zmq.auth`) and again while it lasts, so that
removing a key ends what its owner has open. Addresses beyond this machine are refused without keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import zmq
from zmq.auth.thread import ThreadAuthenticator

from rwkv_rag.bus import keys
from rwkv_rag.bus.address import Address
from rwkv_rag.errors import InputError, NotAllowed

DOMAIN = "rwkv-rag"
REFUSALS = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
FAILURES = REFUSALS | int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
"""Events of a socket's monitor; the one without detail may also be a lost connection."""


@dataclass(frozen=True, slots=True)
class PeerSecurity:
    """The keys of a client or worker, in Z85, ZeroMQ's text form.

    server   the public key of the router; connections to any other router fail
    """

    server: bytes
    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> PeerSecurity:
        """From the file that `rwkv-rag keys add` made. Raises InputError."""
        key = keys.read_peer(file)
        return cls(key.server, key.public, key.secret)

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Set the keys of a socket that will connect."""
        socket.curve_serverkey = self.server
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret


@dataclass(frozen=True, slots=True)
class RouterSecurity:
    """The keys of a router. `allowed` is the folder with the public keys of peers, *.key."""

    public: bytes
    secret: bytes = field(repr=False)
    allowed: Path

    @classmethod
    def load(cls, home: Path) -> RouterSecurity:
        """The server's keys under the data directory `home`. Raises InputError where none are."""
        store = keys.KeyStore(home)
        key = store.server()
        return cls(key.public, key.secret, store.allowed)

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Set the keys of a socket that will bind; needs an `Authenticator` to accept anybody."""
        socket.curve_server = True
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret
        socket.zap_domain = DOMAIN.encode()
        socket.zap_enforce_domain = True  # without an Authenticator: refuse all

    def peer(self) -> PeerSecurity:
        """Keys for processes of this server itself, which can read its secret anyway."""
        return PeerSecurity(self.public, self.public, self.secret)

    def allows(self, public: bytes) -> bool:
        """Whether the owner of the public key (Z85) may connect now."""
        return public in self.allowed_keys()

    def allowed_keys(self) -> frozenset[bytes]:
        """The public keys of all who may connect."""
        return keys.allowed_keys(self.allowed) | {self.public}


Security: TypeAlias = PeerSecurity | RouterSecurity


class Authenticator:
    """Accepts connections to the sockets of `context` whose key is allowed, until `close`."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], security: RouterSecurity) -> None:
        self._security = security
        self._accepted: set[bytes] = set()
        self._thread = ThreadAuthenticator(context)
        self._thread.configure_curve_callback(DOMAIN, self)
        self._thread.start()
        self.close = self._thread.stop

    def callback(self, domain: str, key: bytes) -> bool:
        """What `zmq.auth` calls, in its thread, for every new connection."""
        if not self._security.allows(key):
            return False
        self._accepted.add(key)
        return True

    def revoked(self) -> frozenset[str]:
        """The keys that were accepted and are not allowed any more."""
        revoked = self._accepted.copy() - self._security.allowed_keys()
        return frozenset(key.decode() for key in revoked)


def require_keys(address: Address, security: Security | None) -> None:
    """Refuse to bind or connect beyond this machine without keys. Raises InputError."""
    if security is None and not address.loopback:
        raise InputError(
            "{url} is not on this machine alone and needs keys; make them with `rwkv-rag "
            "keys`, or use 127.0.0.1",
            url=address.url,
        )


def refused_by(url: str, has_keys: bool) -> NotAllowed:
    """The error of a peer whose connection was refused."""
    if not has_keys:
        return NotAllowed("{url} asks for keys; make them there with `rwkv-rag keys add`", url=url)
    return NotAllowed(
        "{url} does not accept the keys of this side; make new ones there with `rwkv-rag keys add`",
        url=url,
    )


def key_revoked() -> NotAllowed:
    """The error of a peer whose key was removed while it was connected."""
    return NotAllowed(
        "the key of this side is not accepted any more; make a new one with `rwkv-rag keys add`"
    )
