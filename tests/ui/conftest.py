"""The pages' client on stand-ins for models, in a home of its own, opened and closed around each
test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("streamlit", reason="the pages need streamlit: pip install 'rwkv-rag[ui]'")

from rwkv_rag import app
from rwkv_rag.config import Settings
from rwkv_rag.i18n import in_language
from rwkv_rag.ui import backend


@contextmanager
def opened(settings: Settings) -> Iterator[app.Client]:
    """What the pages share during the block."""
    backend.configure(settings)
    try:
        yield backend.client()
    finally:
        backend.close()
        backend._configured.clear()


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """Pages set the language of the context they run in; the next test begins in English."""
    with in_language("en"):
        yield


@pytest.fixture
def client(tmp_path: Path) -> Iterator[app.Client]:
    """What the pages of this test share."""
    with opened(Settings(home=tmp_path / "home", model="fake")) as client:
        yield client


@pytest.fixture
def base(client: app.Client, tmp_path: Path) -> str:
    """A base with one document that tries to be HTML and Markdown."""
    client.knowledge.create("docs", chunk_size=200, chunk_overlap=0)
    file = tmp_path / "garden <b>.md"
    file.write_text(
        "# Garden\n\nThe annual fee is <script>alert(48)</script> pounds. ![x](http://x.test/x.png)\n",
        encoding="utf-8",
    )
    for _ in client.knowledge.index("docs", [file]):
        pass
    return "docs"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser of a module's tests; each opens a page of its own in it."""
    from .test_browser import CHROMIUM, launched

    pytest.importorskip("playwright", reason="the browser test needs playwright")
    if CHROMIUM is None:
        pytest.skip("the browser test needs chromium (Debian: apt-get install chromium)")
    with launched() as chromium:
        yield chromium
