"""What all browser sessions share: the objects of the home, opened once. Knows no page.

They may be used from any thread, whether they are in this process or behind services.
"""

from __future__ import annotations

import streamlit as st

from rwkv_rag import app, config

_configured: list[config.Settings] = []
_opened: list[app.Client] = []


def configure(settings: config.Settings) -> None:
    """Set what `client` opens; called once by the server before the first page."""
    _configured[:] = [settings]


def settings() -> config.Settings:
    """The settings of this process."""
    return _configured[0] if _configured else config.load()


def client() -> app.Client:
    """The objects of this process, opened on first use."""
    return _open(settings())


def close() -> None:
    """Close what was opened; the next use opens it anew."""
    while _opened:
        _opened.pop().close()
    _open.clear()


@st.cache_resource(show_spinner=False)
def _open(settings: config.Settings) -> app.Client:
    opened = app.open_client(settings)
    try:
        opened.pipeline()  # what is wrong with a model shows at once
    except BaseException:
        opened.close()
        raise
    _opened.append(opened)
    return opened
