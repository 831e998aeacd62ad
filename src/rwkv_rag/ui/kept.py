"""What a session has entered, kept while its widget is not drawn. Knows no page.

Streamlit forgets a widget's value as soon as a run does not draw it: on another page, or in another
step of this one.
"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

_NOTHING = object()


def keyed(key: str, default: object, options: Sequence[object] | None = None) -> str:
    """`key`, ready for a widget that begins with its last value, or else with `default`.

    A value that is not among `options` does not count: the thing may be gone, or a click has
    taken back the only choice.
    """
    kept = st.session_state.setdefault("kept", {})
    given = st.session_state.get(key, _NOTHING)
    if given is not _NOTHING and (options is None or given in options):
        kept[key] = given
    value = kept.get(key, default)
    if options is not None and value not in options:
        value = default
    if given is _NOTHING or given != value:
        st.session_state[key] = value
    return key


def put(key: str, value: object) -> None:
    """Let the widget `key` begin with `value`; to be called before a run draws it."""
    st.session_state.setdefault("kept", {})[key] = value
    st.session_state[key] = value
