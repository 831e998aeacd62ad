"""The state of one browser session: its language, what was entered, its notices.

Knows no page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from rwkv_rag.errors import RagError
from rwkv_rag.i18n import _, set_language
from rwkv_rag.types import Language
from rwkv_rag.ui import backend
from rwkv_rag.ui.sources import plain

LANGUAGES: dict[Language, str] = {"en": "English", "zh": "中文"}
_NOTHING = object()


def language() -> Language:
    """What the user chose, else what the browser asks for, else the language of the server."""
    wanted = (st.session_state.get("language"), (st.context.locale or "")[:2].lower())
    return next((code for code in wanted if code in LANGUAGES), backend.settings().language)


def use_language() -> None:
    """Show this run of the page in the session's language: each run has a thread of its own."""
    set_language(language())


def fragment(draw: Callable[..., None], *arguments: object, every_s: float | None) -> None:
    """Draw a part of a page that is drawn again by itself every `every_s` seconds, if not None."""

    def run() -> None:
        use_language()
        draw(*arguments)

    st.fragment(run, run_every=every_s)()


def remembered(key: str, default: object, options: Sequence[object] | None = None) -> str:
    """`key`, ready for a widget that begins with its last value, or else with `default`.

    Streamlit forgets a widget's value as soon as a run does not draw it: on another page, or in
    another step of this one. A value that is not among `options` does not count: the thing may be
    gone, or a click has taken back the only choice. In another language the browser has to be
    given the value anew: it knows an option by its text.
    """
    values = st.session_state.setdefault("remembered", {})
    languages = st.session_state.setdefault("languages_shown", {})
    given = st.session_state.get(key, _NOTHING)
    if given is not _NOTHING and (options is None or given in options):
        values[key] = given
    value = values.get(key, default)
    if options is not None and value not in options:
        value = default
    if given is _NOTHING or given != value or languages.get(key) != language():
        st.session_state[key] = value
    languages[key] = language()
    return key


def preset(key: str, value: object) -> None:
    """Let the widget `key` begin with `value`; to be called before a run draws it."""
    st.session_state.setdefault("remembered", {})[key] = value
    st.session_state[key] = value


@contextmanager
def errors_shown() -> Iterator[None]:
    """Errors of ours become one line on the page; what follows the block is drawn all the same."""
    try:
        yield
    except RagError as error:
        st.error(plain(_(error)), icon=":material/error:")


def notify(kind: str, text: str) -> None:
    """Keep `text` ("done" or "skipped") for the next drawing: actions rerun the page at once."""
    st.session_state.setdefault("notices", []).append((kind, text))


def show_notices() -> None:
    """Show the notices that were kept, once."""
    for kind, text in st.session_state.pop("notices", []):
        (st.success if kind == "done" else st.warning)(plain(text))
