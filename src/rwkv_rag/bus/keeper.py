"""A thread that looks after the lines nobody is reading, as libzmq's does after its own.

Knows no line: what it does, its owner says. It ends with `stop`, or when the owner is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakMethod


class Keeper:
    """Calls `look`, a method, every `every_s`, from the first `start` on."""

    def __init__(self, look: Callable[[], None], every_s: float) -> None:
        self._look, self._every_s = WeakMethod(look), every_s
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End soon; from any thread."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            look = self._look()
            if look is None:
                return
            look()
            del look  # else the owner would not be forgotten while this waits
