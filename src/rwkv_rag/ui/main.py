"""The script Streamlit runs for every session: language, navigation, then the chosen page."""

from __future__ import annotations

import streamlit as st

from rwkv_rag.i18n import _
from rwkv_rag.ui import chat, knowledge, services, session, tuning
from rwkv_rag.ui.sources import STYLE


def main() -> None:
    """Draw the frame and the page; errors of ours are shown as one line."""
    st.set_page_config(page_title="RWKV-RAG", page_icon=":material/menu_book:", layout="centered")
    session.use_language()
    st.html(STYLE)
    pages = [
        (chat.page, _("Chat"), ":material/forum:", "chat"),
        (knowledge.page, _("Knowledge"), ":material/library_books:", "knowledge"),
        (tuning.page, _("Tuning"), ":material/school:", "tuning"),
        (services.page, _("Services"), ":material/dns:", "services"),
    ]
    page = st.navigation(
        [
            st.Page(draw, title=title, icon=icon, url_path=path, default=draw is chat.page)
            for draw, title, icon, path in pages
        ]
    )
    st.sidebar.segmented_control(
        "Language",
        list(session.LANGUAGES),
        format_func=session.LANGUAGES.__getitem__,
        default=session.language(),  # not by session_state: a quick click loses it
        key="language",
        label_visibility="collapsed",
    )
    with session.errors_shown():
        page.run()


main()
