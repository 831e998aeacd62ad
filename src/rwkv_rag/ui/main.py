"""The script Streamlit runs for every session: language, navigation, then the chosen page."""

from __future__ import annotations

import streamlit as st

from rwkv_rag.i18n import _
from rwkv_rag.ui import chat, library, services, tuning
from rwkv_rag.ui.language import choose_language, use_session_language
from rwkv_rag.ui.notices import errors_shown
from rwkv_rag.ui.sources import STYLE


def main() -> None:
    """Draw the frame and the page; errors of ours are shown as one line."""
    use_session_language()
    st.set_page_config(page_title="RWKV-RAG", page_icon=":material/menu_book:", layout="centered")
    st.html(STYLE)
    page = st.navigation(
        [
            st.Page(
                chat.page,
                title=_("Chat"),
                icon=":material/forum:",
                url_path="chat",
                default=True,
            ),
            st.Page(
                library.page,
                title=_("Knowledge"),
                icon=":material/library_books:",
                url_path="knowledge",
            ),
            st.Page(
                tuning.page,
                title=_("Tuning"),
                icon=":material/school:",
                url_path="tuning",
            ),
            st.Page(
                services.page,
                title=_("Services"),
                icon=":material/dns:",
                url_path="services",
            ),
        ]
    )
    choose_language()
    with errors_shown():
        page.run()


main()
