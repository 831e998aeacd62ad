"""A server for all tests of the API that change nothing, and servers of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the API needs fastapi: pip install 'rwkv-rag[api]'")

from .serving import Served, fake, fill, running


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests that change nothing they share; the base "docs" is filled."""
    with running(fake(tmp_path_factory.mktemp("api") / "home")) as served:
        fill(served.client)
        yield served


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Served]:
    """A server of a test's own."""
    with running(fake(tmp_path / "home")) as served:
        yield served
