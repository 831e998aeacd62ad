"""HOME/run: who runs the services of a home, and where they are reached.

    up.lock         locked by the process that runs them; the kernel frees it when it dies
    services.json   their addresses, replaced as a whole
    *.front *.back  sockets, where paths are short enough; else in a private directory elsewhere

The directory is its owner's alone. Starts no process and opens no socket.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rwkv_rag.bus.address import MAX_PATH_BYTES
from rwkv_rag.errors import Busy, InputError, system_reason
from rwkv_rag.knowledge.locks import FileLock

LONGEST_SOCKET = "/tuning.front"
SOCKETS = ("*.front", "*.back")
LOCK_S = 1.0
MAX_BYTES = 1 << 16  # of services.json; a larger file was not written by us


@dataclass(frozen=True, slots=True)
class Running:
    """Where the services of one `rwkv-rag up` are reached.

    services    the front ends of "llm", "index" and "tuning" by name, as far as they run
    control     the front end of the supervisor itself
    api, ui     URLs for a browser, empty where they do not run
    server_key  the server's key file where the addresses ask for keys, else empty
    sockets     a directory that holds only their sockets, else empty
    """

    pid: int
    control: str
    services: Mapping[str, str] = field(default_factory=dict)
    api: str = ""
    ui: str = ""
    server_key: str = ""
    sockets: str = ""

    def json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"


class RunDirectory:
    """The run directory of a home, held by this process from `acquire` to `release`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / "run"
        self._lock = FileLock(lock_file(home))
        self._short: Path | None = None

    def acquire(self, *, timeout_s: float = LOCK_S) -> None:
        """Make the directory ours. Raises Busy where another process has it, InputError."""
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.mkdir(mode=0o700, exist_ok=True)
            self._path.chmod(0o700)
        except OSError as error:
            raise InputError(
                "{path} cannot be used ({reason}); choose another with --home",
                path=self._path,
                reason=system_reason(error),
            ) from error
        if not self._lock.acquire(timeout_s=timeout_s):
            raise Busy(
                "the services of {home} run already, in process {home2}; see rwkv-rag "
                "status, or end them with rwkv-rag down",
                home=self._home,
                home2=_holder(self._home),
            )
        self._clean()  # what a killed process left behind

    def socket(self, name: str) -> str:
        """The address of a socket of this directory."""
        if len(os.fsencode(f"{self._path}{LONGEST_SOCKET}")) <= MAX_PATH_BYTES:
            return f"ipc://{self._path / name}"
        if self._short is None:
            self._short = Path(tempfile.mkdtemp(prefix="rwkv-rag-"))
            # Written down at once, so that the next process can remove it.
            self.write(Running(os.getpid(), control=""))
        return f"ipc://{self._short / name}"

    def write(self, running: Running) -> None:
        """Write what runs where; a reader sees the old file or the new one, never a part."""
        path = services_file(self._home)
        part = path.with_suffix(".part")
        running = replace(running, sockets=str(self._short or ""))
        try:
            with open(part, "w", encoding="utf-8", opener=_private) as file:
                file.write(running.json())
            part.replace(path)
        except OSError as error:
            raise InputError(
                "{path} cannot be written ({reason})", path=path, reason=system_reason(error)
            ) from error

    def release(self) -> None:
        """Remove everything but the lock file, and unlock it."""
        self._clean()
        self._lock.release()

    def _clean(self) -> None:
        left = read(self._home)
        if left and left.sockets:
            _remove_sockets(Path(left.sockets))
        patterns = ("services.*", *SOCKETS)
        for path in (path for pattern in patterns for path in self._path.glob(pattern)):
            with suppress(OSError):
                path.unlink()
        self._short = None


def lock_file(home: Path) -> Path:
    return home / "run" / "up.lock"


def services_file(home: Path) -> Path:
    return home / "run" / "services.json"


def running(home: Path) -> Running | None:
    """What runs on `home`; None where nothing does."""
    found = read(home)
    return found if found and is_locked(home) else None


def is_locked(home: Path) -> bool:
    """Whether a process runs the services of `home`."""
    if not lock_file(home).exists():
        return False
    lock = FileLock(lock_file(home))
    if lock.acquire():
        lock.release()
        return False
    return True


def read(home: Path) -> Running | None:
    """What `rwkv-rag up` wrote last; None where there is no file, or not one of ours."""
    try:
        content = services_file(home).read_bytes()
    except OSError:
        return None
    import msgspec

    try:
        return msgspec.json.decode(content, type=Running) if len(content) <= MAX_BYTES else None
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _holder(home: Path) -> str:
    try:
        return lock_file(home).read_text(encoding="ascii").strip() or "?"
    except (OSError, ValueError):
        return "?"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _remove_sockets(folder: Path) -> None:
    """Remove a directory that we made, if that is what it still is."""
    ours = folder.name.startswith("rwkv-rag-") and folder.parent == Path(tempfile.gettempdir())
    if ours and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
