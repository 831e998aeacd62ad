"""Homes with short paths for real processes; whatever a test leaves running ends with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .running import Up

Start = Callable[..., Up]


@pytest.fixture
def home() -> Iterator[Path]:
    """A data directory whose sockets have short paths."""
    folder = Path(tempfile.mkdtemp(prefix="rr-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def up(home: Path) -> Iterator[Start]:
    """Starts `rwkv-rag up` with arguments; the llm, index and tuning services unless told."""
    started: list[Up] = []

    def start(*arguments: str, configuration: str = "") -> Up:
        started.append(Up(home, *arguments, configuration=configuration))
        return started[-1]

    yield start
    for each in started:
        each.clean()
