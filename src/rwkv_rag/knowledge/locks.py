"""Advisory locks between processes, one file each. Knows nothing of what they guard.

The operating system frees a lock when its holder dies, however it dies, so nothing is ever stale.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from rwkv_rag.errors import Busy, InputError, system_reason

POLL_S = 0.05
WAIT_S = 1.0  # long enough for another short change to end


class FileLock:
    """An exclusive lock on `path`; the file holds the owner's process id for messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    @property
    def held(self) -> bool:
        return self._handle is not None

    def acquire(self, *, timeout_s: float = 0.0) -> bool:
        """Try for `timeout_s` seconds; False when another holder keeps it.

        Raises InputError when the file cannot be written.
        """
        if self.held:
            return False
        try:
            return self._take(timeout_s)
        except OSError as error:
            raise InputError(
                "{path} cannot be opened for writing; check its permissions or choose "
                "another data directory with --home ({reason})",
                path=self.path,
                reason=system_reason(error),
            ) from error

    def _take(self, timeout_s: float) -> bool:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + timeout_s
        while not _lock(handle):
            if time.monotonic() >= deadline:
                os.close(handle)
                return False
            time.sleep(POLL_S)
        self._handle = handle
        with suppress(OSError):  # the lock stands without it; a full disk must not undo it
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        return True

    def require(self, doing: str) -> None:
        """Acquire or, after a moment, raise Busy, naming the process that holds it."""
        if not self.acquire(timeout_s=WAIT_S):
            raise Busy(
                "{doing} is not possible now: process {owner} is changing this library; wait "
                "until it has finished and try again",
                doing=doing,
                owner=self._owner(),
            )

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _owner(self) -> str:
        try:
            return self.path.read_text(encoding="ascii").strip() or "?"
        except (OSError, ValueError):
            return "?"


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        # A byte far behind the process id, because Windows locks also stop readers.
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
