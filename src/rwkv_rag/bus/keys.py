"""The key files of a data directory: the server's own pair and the peers that may connect.

HOME/keys/server.key        the server's pair: secret
HOME/keys/allowed/NAME.key  public keys, one a peer; deleting one revokes it
NAME.key                    made for a peer, to be moved to its machine: the server's public key and
                            a pair of its own: secret

The format is that of `zmq.auth`, with a line for the server's key. Secret files are readable by
their owner alone, and are not accepted otherwise, as with ssh. Knows no socket.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import zmq

from rwkv_rag.errors import AlreadyExists, InputError, NotFound, system_reason

MAX_FILE_BYTES = 64 << 10
_NAME = re.compile(r"\w[\w.-]{0,63}")
_LINE = re.compile(rb'^\s*(server|public|secret)-key\s*=\s*"([!-~]{40})"\s*$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Key:
    """What a key file holds, in Z85; what it lacks is empty."""

    public: bytes
    secret: bytes = field(default=b"", repr=False)
    server: bytes = b""


class KeyStore:
    """The keys under one data directory."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "keys"
        self.allowed = self.folder / "allowed"
        self._server = self.folder / "server.key"

    def server(self) -> Key:
        """The server's pair. Raises InputError where none was made, or others can read it."""
        if not _present(self._server):
            raise InputError(
                "there are no keys in {folder}; make them with `rwkv-rag keys`", folder=self.folder
            )
        return _read_secret(self._server)

    def make(self) -> Key:
        """The server's pair, made now where there is none."""
        if not _present(self._server):
            _make_folders(self.allowed)
            _write(self._server, _pair(), "The server's own key. Secret: never give it away.")
        return self.server()

    def peers(self) -> dict[str, bytes]:
        """The public keys that may connect, by name."""
        files = sorted(self.allowed.glob("*.key"))
        keys = {file.stem: _public_of(file) for file in files}
        return {name: key for name, key in keys.items() if key}

    def add(self, name: str, out: Path) -> Key:
        """Make the key file `out` of a new peer, to be moved to its machine, and allow its key."""
        public_file, server = self._file(name), self.make()
        if _present(public_file):
            raise AlreadyExists(
                "{name} has a key already; remove it first, or choose another name", name=name
            )
        pair = _pair()
        peer = Key(pair.public, pair.secret, server.public)
        _write(out, peer, f"The key of {name}. Secret: who has this file may use the services.")
        _write(
            public_file, Key(pair.public), f"The public key of {name}: delete it to shut it out."
        )
        return peer

    def remove(self, name: str) -> None:
        """Revoke a peer's key. Raises NotFound with the names there are."""
        try:
            self._file(name).unlink()
        except (FileNotFoundError, NotADirectoryError):
            known = ", ".join(self.peers()) or "none"
            raise NotFound(
                "no key is called {name}; there are: {known}", name=name, known=known
            ) from None
        except OSError as error:
            raise InputError(
                "the key {name} cannot be removed: {reason}", name=name, reason=system_reason(error)
            ) from error

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InputError(
                "the name {name!r} cannot be used; take letters, digits, '-', '_' and '.'",
                name=name,
            )
        return self.allowed / f"{name}.key"


def read_peer(file: Path) -> Key:
    """The file of a peer: the server's public key and a pair. Raises InputError."""
    key = _read_secret(file)
    if not key.server:
        raise InputError(
            "{file} is the key of no peer; make one with `rwkv-rag keys add` where the "
            "services are",
            file=file,
        )
    return key


def allowed_keys(folder: Path) -> frozenset[bytes]:
    """The public keys in a folder, as it is now."""
    return frozenset(filter(None, map(_public_of, folder.glob("*.key"))))


def _public_of(file: Path) -> bytes:
    """The public key in a file; empty where there is none: a bad file affects one peer only."""
    try:
        return _parsed(file).public
    except (OSError, InputError):
        return b""


def _read_secret(file: Path) -> Key:
    """A pair from a file that its owner alone can read. Raises InputError."""
    try:
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise InputError(
                "{file} can be read by others and is not safe to use; run chmod 600 {file}",
                file=file,
            )
        key = _parsed(file)
    except OSError as error:
        raise _unreadable(file, error) from error
    if not key.public or not key.secret:
        raise InputError("{file} holds no key; make one with `rwkv-rag keys add`", file=file)
    return key


def _present(file: Path) -> bool:
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(file, error) from error
    return True


def _unreadable(file: Path, error: OSError) -> InputError:
    reason = system_reason(error)
    return InputError("the key {file} cannot be read: {reason}", file=file, reason=reason)


def _parsed(file: Path) -> Key:
    with file.open("rb") as stream:
        text = stream.read(MAX_FILE_BYTES)
    found = {name.decode(): value for name, value in _LINE.findall(text)}
    return Key(found.get("public", b""), found.get("secret", b""), found.get("server", b""))


def _pair() -> Key:
    return Key(*zmq.curve_keypair())


def _make_folders(allowed: Path) -> None:
    try:
        allowed.parent.mkdir(parents=True, exist_ok=True)
        allowed.parent.chmod(0o700)
        allowed.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(
            "{parent} cannot be made: {reason}", parent=allowed.parent, reason=system_reason(error)
        ) from error


def _write(file: Path, key: Key, title: str) -> None:
    """A new file that its owner alone can read; never over one that is there."""
    named = (("server", key.server), ("public", key.public), ("secret", key.secret))
    lines = [f'    {name}-key = "{value.decode()}"' for name, value in named if value]
    text = "\n".join([f"# {title}", "curve", *lines, ""])
    created = False
    try:
        with open(file, "x", encoding="utf-8", opener=partial(os.open, mode=0o600)) as stream:
            created = True
            stream.write(text)
    except FileExistsError:
        raise AlreadyExists(
            "{file} is there already; choose another file with --out", file=file
        ) from None
    except OSError as error:
        if created:  # a full disk; half a key would only be in the way
            file.unlink(missing_ok=True)
        reason = system_reason(error)
        raise InputError("{file} cannot be written: {reason}", file=file, reason=reason) from error
