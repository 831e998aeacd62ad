"""The one engine all browser sessions share: library and pipeline behind one lock. Knows no page.

Models and stores take one caller at a time. `turn` and `steps` hand them round, the latter between
any two steps of a long job, so that a chat goes on while another session indexes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import streamlit as st

from rwkv_rag import app, config
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.rag.pipeline import Pipeline

T = TypeVar("T")

_configured: list[config.Settings] = []


class FairLock:
    """A lock that serves its waiters in the order they came.

    `threading.Lock` does not: a thread that lets go and asks again at once, as indexing does
    between its steps, gets it again, and a chat would wait until the last step.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets = self._served = 0

    def __enter__(self) -> None:
        with self._changed:
            mine = self._tickets
            self._tickets += 1
            self._changed.wait_for(lambda: self._served == mine)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._served += 1
            self._changed.notify_all()


@dataclass(frozen=True)
class Engine:
    """What the pages work with."""

    settings: config.Settings
    library: Knowledge
    pipeline: Pipeline
    lock: FairLock = field(default_factory=FairLock)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Exclusive use of the engine for the block."""
        with self.lock:
            yield

    def steps(self, start: Callable[[], Iterator[T]]) -> Generator[T, None, None]:
        """The steps of the job that `start` begins, each (and the beginning) with exclusive use.

        Others may work in between.
        """
        with self.lock:
            job = start()
        while True:
            with self.lock:
                try:
                    step = next(job)
                except StopIteration:
                    return
            yield step


def configure(settings: config.Settings) -> None:
    """Set what `shared` opens; called once by the server before the first page."""
    _configured[:] = [settings]


def settings() -> config.Settings:
    """The settings of this process."""
    return _configured[0] if _configured else config.load()


def shared() -> Engine:
    """The engine of this process, opened on first use."""
    return _open(settings())


@st.cache_resource(show_spinner=False)
def _open(settings: config.Settings) -> Engine:
    library = app.open_library(settings)
    return Engine(settings, library, app.open_pipeline(settings, library))
