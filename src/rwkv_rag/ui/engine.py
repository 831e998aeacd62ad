"""The one engine all browser sessions share: library and pipeline behind one lock. Knows no page.

Stores and readers take one caller at a time. `turn` and `steps` hand them round, the latter between
any two steps of a long job, so that a chat goes on while another session indexes. The model that
writes takes many callers, so while an answer waits for its text the lock is let go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import streamlit as st

from rwkv_rag import app, config, interfaces
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.rag.pipeline import Pipeline
from rwkv_rag.types import Delta, Sampling

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

    @contextmanager
    def let_go(self) -> Iterator[None]:
        """Others may have the lock during the block; its holder gets it back at the end."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


class Lent:
    """A generator that several sessions use at once, each letting the engine go while it waits.

    Its deltas may only be fetched while the lock is held.
    """

    def __init__(self, generator: interfaces.Generator, lock: FairLock) -> None:
        self._generator = generator
        self._lock = lock

    @property
    def name(self) -> str:
        return self._generator.name

    def count_tokens(self, text: str) -> int:
        return self._generator.count_tokens(text)

    def generate(
        self,
        prompt: str,
        *,
        sampling: Sampling,
        max_tokens: int,
        stop: Sequence[str] = (),
        sources: Sequence[str] | None = None,
        refusal: str = "",
    ) -> Iterator[Delta]:
        """See `rwkv_rag.interfaces.Generator`."""
        deltas = self._generator.generate(
            prompt,
            sampling=sampling,
            max_tokens=max_tokens,
            stop=stop,
            sources=sources,
            refusal=refusal,
        )
        return self._waiting(deltas)

    def _waiting(self, deltas: Iterator[Delta]) -> Iterator[Delta]:
        while True:
            with self._lock.let_go():
                delta = next(deltas, None)
            if delta is None:
                return
            yield delta


@dataclass(frozen=True)
class Engine:
    """What the pages work with."""

    settings: config.Settings
    library: Knowledge
    lock: FairLock = field(default_factory=FairLock)

    def pipeline(self, model: str = "", tuned: str = "") -> Pipeline:
        """What answers with `model` (empty: that of the settings) as `tuned`; models load once.

        To be called, and its answers fetched, with the engine's turn.
        """
        chosen = replace(self.settings, model=model or self.settings.model, tuned=tuned)
        return app.open_pipeline(
            chosen, self.library, lend=lambda generator: Lent(generator, self.lock)
        )

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
    shared = Engine(settings, app.open_library(settings))
    shared.pipeline(tuned=settings.tuned)  # what is wrong with a model is said at once
    return shared
