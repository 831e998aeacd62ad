"""A router or a worker in a process of its own, which tests can kill, stop and start again.

usage: python process.py router FRONT BACK | worker BACK NAME MARKS   (a script: never imported)
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rwkv_rag.bus.router import Router
from rwkv_rag.bus.transport import Incoming
from rwkv_rag.bus.worker import Worker

QUICK = {"beat_s": 0.1, "dead_s": 1.0}


class Answers:
    """Leaves a line in the file `marks` for all that tests cannot see from outside."""

    def __init__(self, name: str, marks: Path) -> None:
        self._name, self._marks = name, marks

    def __call__(self, incoming: Incoming) -> Any:
        given = incoming.arguments(dict)
        if incoming.method == "who":
            return self._name
        self.mark(f"{incoming.method} {given.get('text', '')}")
        if incoming.method == "slow":
            return self._slow(incoming, given["seconds"])
        if incoming.method == "flood":
            return self._flood()
        if incoming.method == "stubborn":
            time.sleep(60)
        return given["text"]

    def mark(self, what: str) -> None:
        with self._marks.open("a") as file:
            file.write(f"{self._name}: {what}\n")

    def _slow(self, incoming: Incoming, seconds: float) -> str:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.01)
            if incoming.cancelled():
                self.mark("cancelled")
                break
        return self._name

    def _flood(self) -> Iterator[bytes]:
        number = 0
        try:
            while True:
                number += 1
                yield number.to_bytes(4, "big") * 4096
        finally:
            self.mark(f"closed after {number}")


def main(role: str, *given: str) -> None:
    if role == "router":
        Router("echo", *given, **QUICK).run()
    else:
        back, name, marks = given
        facts = {"pid": os.getpid()}
        Worker(Answers(name, Path(marks)), back, name=name, facts=lambda: facts, **QUICK).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
