"""The script Streamlit runs for every session: language, navigation, then the chosen page."""

from __future__ import annotations

import streamlit as st

from rwkv_rag.ui import chat, library, parts, services, tuning
from rwkv_rag.ui.notices import errors_shown
from rwkv_rag.ui.sources import STYLE
from rwkv_rag.ui.words import LANGUAGES, text


def main() -> None:
    """Draw the frame and the page; errors of ours are shown as one line."""
    st.set_page_config(page_title="RWKV-RAG", page_icon=":material/menu_book:", layout="centered")
    st.html(STYLE)
    page = st.navigation(
        [
            st.Page(
                chat.page,
                title=text("Chat"),
                icon=":material/forum:",
                url_path="chat",
                default=True,
            ),
            st.Page(
                library.page,
                title=text("Knowledge"),
                icon=":material/library_books:",
                url_path="knowledge",
            ),
            st.Page(
                tuning.page,
                title=text("Tuning"),
                icon=":material/school:",
                url_path="tuning",
            ),
            st.Page(
                services.page,
                title=text("Services"),
                icon=":material/dns:",
                url_path="services",
            ),
        ]
    )
    _choose_language()
    with errors_shown():
        page.run()


def _choose_language() -> None:
    names = {code: name for name, code in LANGUAGES.items()}
    st.sidebar.segmented_control(
        "Language",
        list(LANGUAGES),
        default=names[parts.settings().language],  # not by session_state: a quick click loses it
        key="language",
        label_visibility="collapsed",
    )


main()
