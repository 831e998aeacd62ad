"""The one tuner all browser sessions share, one caller at a time. Knows no page and no job.

It has a lock of its own: a look at the running jobs must not wait until a chat has its answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import streamlit as st

from rwkv_rag import app, config
from rwkv_rag.interfaces import Tuner
from rwkv_rag.ui import engine


@dataclass(frozen=True)
class Bench:
    """The tuner and its lock."""

    tuner: Tuner
    lock: engine.FairLock = field(default_factory=engine.FairLock)

    @contextmanager
    def turn(self) -> Iterator[Tuner]:
        """Exclusive use of the tuner for the block."""
        with self.lock:
            yield self.tuner


def shared() -> Bench:
    """The tuner of this process, opened on first use."""
    return _open(engine.settings())


@st.cache_resource(show_spinner=False)
def _open(settings: config.Settings) -> Bench:
    return Bench(app.open_tuner(settings))
