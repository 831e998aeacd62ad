"""An engine on stand-ins for models, in a home of its own, opened and closed around each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("streamlit", reason="the pages need streamlit: pip install 'rwkv-rag[ui]'")

from rwkv_rag.config import Settings
from rwkv_rag.ui import engine


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[engine.Engine]:
    """The engine the pages of this test share."""
    engine.configure(Settings(home=tmp_path / "home", model="fake"))
    opened = engine.shared()
    yield opened
    opened.library.close()  # type: ignore[attr-defined]
    engine._open.clear()
    engine._configured.clear()


@pytest.fixture
def base(shared: engine.Engine, tmp_path: Path) -> str:
    """A base with one document that tries to be HTML and Markdown."""
    shared.library.create("docs", chunk_size=200, chunk_overlap=0)
    file = tmp_path / "garden <b>.md"
    file.write_text(
        "# Garden\n\nThe annual fee is <script>alert(48)</script> pounds. ![x](http://x.test/x.png)\n",
        encoding="utf-8",
    )
    for _ in shared.library.index("docs", [file]):
        pass
    return "docs"
