"""What a page has to tell: errors of ours on one line, and words left over from the last action."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from rwkv_rag.errors import RagError
from rwkv_rag.i18n import _
from rwkv_rag.ui.sources import plain


@contextmanager
def errors_shown() -> Iterator[None]:
    """Errors of ours become one line on the page; what follows the block is drawn all the same."""
    try:
        yield
    except RagError as error:
        st.error(plain(_(error)), icon=":material/error:")


def say_later(kind: str, message: str) -> None:
    """Keep `message` ("done" or "skipped") for the next drawing: actions rerun the page at once."""
    st.session_state.setdefault("notices", []).append((kind, message))


def show_notices() -> None:
    """Show what was kept, once."""
    for kind, message in st.session_state.pop("notices", []):
        (st.success if kind == "done" else st.warning)(plain(message))
