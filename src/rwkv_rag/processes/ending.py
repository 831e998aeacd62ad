"""How a child process learns that it is to end: its stdin closes, or a signal comes.

Whoever stops a child closes its stdin; a supervisor that is killed closes it without meaning to.
Either way the child ends by itself, so that nothing outlives its supervisor. Knows no role.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

LINE_LIMIT = 1 << 20  # bytes
GRACE_S = 15.0  # for what is in flight; then the process ends whatever it does
OVERDUE = 3  # exit code of a process that could not end in time


class Ending:
    """Calls `stop` once, from a thread, when the process is to end; ends it itself if that hangs.

    Nobody is called before `watch` says whom. Reads the bare descriptor: a thread that waits in a
    buffered reader makes the interpreter's own end fail.
    """

    def __init__(self, stdin: int = 0) -> None:
        self._stdin = stdin
        self._asked = threading.Event()

    def first_line(self) -> bytes:
        """What stands on stdin before its first line break; empty where it closed before."""
        line = b""
        while not line.endswith(b"\n") and len(line) < LINE_LIMIT:
            if not (more := os.read(self._stdin, LINE_LIMIT)):
                return b""
            line += more
        return line

    def watch(self, stop: Callable[[], None], *, grace_s: float = GRACE_S) -> None:
        """From now on call `stop` at the end of stdin or at SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's affair
        threading.Thread(target=self._read, name="stdin", daemon=True).start()
        threading.Thread(target=self._end, args=(stop, grace_s), name="ending", daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):
            while os.read(self._stdin, 1 << 12):
                pass
        self._asked.set()

    def _end(self, stop: Callable[[], None], grace_s: float) -> None:
        self._asked.wait()
        overdue = threading.Timer(grace_s, os._exit, (OVERDUE,))
        overdue.daemon = True
        overdue.start()
        stop()
