"""Turns: objects made for one caller at a time serve many threads, each step in its turn.

    handler = serve({"knowledge": Export(KNOWLEDGE, library, turn=FairLock())})
    knowledge = remote(KNOWLEDGE, Local(handler))     # may now be used from any thread

Every call takes a turn, and so does every step of an iterator: a search is answered between two
steps of a long indexing. Whoever uses such an object needs no lock of his own. Objects that share
something share one `FairLock`, as the roles of one model do. Knows neither objects nor sockets.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any


class FairLock:
    """A lock that serves its waiters in the order they came.

    `threading.Lock` does not: a thread that lets go and asks again at once, as indexing does
    between its steps, gets it again, and a chat would wait until the last step.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: deque[object] = deque()  # whoever is first in it has the lock
        self._owner = self._depth = 0

    def __enter__(self) -> None:
        if self._owner == threading.get_ident():  # an iterator may be given up at any time
            self._depth += 1
            return
        mine = object()
        with self._changed:
            self._line.append(mine)
            try:
                self._changed.wait_for(lambda: self._line[0] is mine)
            except BaseException:  # Ctrl-C while waiting: those behind must not wait for ever
                self._line.remove(mine)
                self._changed.notify_all()
                raise
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        if self._depth:
            self._depth -= 1
            return
        self._owner = 0
        with self._changed:
            self._line.popleft()
            self._changed.notify_all()


def in_turns(turn: FairLock, call: Callable[[], Any]) -> Any:
    """What `call` gives, made in its turn; if that is an iterator, its steps too."""
    with turn:
        answer = call()
    return Steps(answer, turn) if isinstance(answer, Iterator) else answer


class Steps(Iterator[Any]):
    """An iterator that waits for its turn before each step."""

    def __init__(self, values: Iterator[Any], turn: FairLock) -> None:
        self._values = values
        self._turn = turn

    def __next__(self) -> Any:
        with self._turn:
            return next(self._values)

    def close(self) -> None:
        """End the work; what it holds is let go in its turn too."""
        if close := getattr(self._values, "close", None):
            with self._turn:
                close()
