"""The language of a browser session: chosen on the page, else the browser's, else the server's."""

from __future__ import annotations

import streamlit as st

from rwkv_rag import i18n
from rwkv_rag.types import Language
from rwkv_rag.ui import parts

LANGUAGES: dict[str, Language] = {"English": "en", "中文": "zh"}


def use_session_language() -> None:
    """Show this run of the page in the session's language."""
    chosen = st.session_state.get("language")
    i18n.set_language(LANGUAGES[chosen] if chosen in LANGUAGES else _first_language())


def choose_language() -> None:
    """Draw the choice in the sidebar."""
    names = {code: name for name, code in LANGUAGES.items()}
    st.sidebar.segmented_control(
        "Language",
        list(LANGUAGES),
        default=names[_first_language()],  # not by session_state: a quick click loses it
        key="language",
        label_visibility="collapsed",
    )


def _first_language() -> Language:
    """The browser's language where it is one of ours, else the one the server was started with."""
    asked = (st.context.locale or "").lower()[:2]
    return next((code for code in LANGUAGES.values() if code == asked), parts.settings().language)
