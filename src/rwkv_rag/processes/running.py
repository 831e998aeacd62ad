"""HOME/run: who runs the services of a home, and where they are reached.

    up.lock         locked by the process that runs them; the kernel frees it when it dies
    services.json   their addresses, written whole or not at all
    *.front *.back  sockets, where paths are short enough; else in a private directory elsewhere

The directory is its owner's alone. Knows no process but the one that holds the lock.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rwkv_rag.bus.address import MAX_PATH_BYTES
from rwkv_rag.config.running import Running, lock_file, run_directory, services_file
from rwkv_rag.config.running import read as read_running
from rwkv_rag.errors import Busy, InputError, system_reason
from rwkv_rag.knowledge.locks import FileLock

LONGEST_SOCKET = "/tuning.front"
SOCKETS = ("*.front", "*.back")
LOCK_S = 1.0


class RunDirectory:
    """The run directory of a home, held by this process from `take` to `leave`."""

    def __init__(self, home: Path) -> None:
        self._path = run_directory(home)
        self._home = home
        self._lock = FileLock(lock_file(home))
        self._short: Path | None = None

    def take(self) -> None:
        """Make the directory ours. Raises Busy where another process has it, InputError."""
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.chmod(0o700)
        except OSError as error:
            raise InputError(
                "{path} cannot be used ({reason}); choose another with --home",
                path=self._path,
                reason=system_reason(error),
            ) from error
        if not self._lock.acquire(timeout_s=LOCK_S):
            raise Busy(
                "the services of {home} run already, in process {home2}; see rwkv-rag "
                "status, or end them with rwkv-rag down",
                home=self._home,
                home2=holder(self._home),
            )
        self._clean()  # what a killed process left behind

    def socket(self, name: str) -> str:
        """The address of a socket of this directory."""
        if len(os.fsencode(f"{self._path}{LONGEST_SOCKET}")) <= MAX_PATH_BYTES:
            return f"ipc://{self._path / name}"
        if self._short is None:
            self._short = Path(tempfile.mkdtemp(prefix="rwkv-rag-"))
            self.tell(Running(os.getpid(), control=""))  # so that whoever comes next can clean up
        return f"ipc://{self._short / name}"

    def tell(self, running: Running) -> None:
        """Write what runs where, for whoever reads it at this moment too."""
        path = services_file(self._home)
        made = path.with_suffix(".part")
        running = replace(running, sockets=str(self._short or ""))
        try:
            with open(made, "w", encoding="utf-8", opener=_private) as file:
                file.write(running.json())
            made.replace(path)
        except OSError as error:
            raise InputError(
                "{path} cannot be written ({reason})", path=path, reason=system_reason(error)
            ) from error

    def leave(self) -> None:
        """Remove everything but the lock, and let go of that."""
        self._clean()
        self._lock.release()

    def _clean(self) -> None:
        left = read_running(self._home)
        if left and left.sockets:
            _remove_sockets(Path(left.sockets))
        files = (services_file(self._home), services_file(self._home).with_suffix(".part"))
        sockets = (path for pattern in SOCKETS for path in self._path.glob(pattern))
        for path in (*files, *sockets):
            with suppress(OSError):
                path.unlink()
        self._short = None


def held(home: Path) -> bool:
    """Whether a process runs the services of `home`."""
    if not lock_file(home).exists():
        return False
    lock = FileLock(lock_file(home))
    if lock.acquire():
        lock.release()
        return False
    return True


def running(home: Path) -> Running | None:
    """What runs on `home`; None where nothing does."""
    return read_running(home) if held(home) else None


def holder(home: Path) -> str:
    """The process that runs the services of `home`, for people."""
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
