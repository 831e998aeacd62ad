"""The tuning page: rows, method, runs; three steps, and each can be looked at again.

Knows the order of the steps. What happens in a step is in `rows`, `method` and `runs`.
"""

from __future__ import annotations

import time
from typing import Literal, get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from rwkv_rag.i18n import _
from rwkv_rag.ui import backend, method, rows, runs
from rwkv_rag.ui.session import notify, preset, remembered, show_notices
from rwkv_rag.ui.sources import title_html

Step = Literal["rows", "method", "runs"]
STEPS: tuple[Step, ...] = get_args(Step)
ICONS = {
    "rows": ":material/table_rows:",
    "method": ":material/tune:",
    "runs": ":material/show_chart:",
}
FLUSH_S = 0.05
STYLE = """
<style>
.stMainBlockContainer {max-width: 62rem;}
[data-testid="stMetricValue"] {font-size: 1.7rem;}
</style>
"""


def page() -> None:
    """Draw the page."""
    st.html(STYLE)
    claim = _("Teach the model from rows of questions and answers, and use it in the chat.")
    st.html(title_html(_("Tuning"), claim))
    with st.container():  # what follows keeps its place when the notices disappear
        show_notices()
    if "tune_next" in st.session_state:
        preset("tune_step", st.session_state.pop("tune_next"))
    step = _choose_step()
    with _place(step):
        if step == "rows":
            if rows.section():
                _go("method")
        elif step == "method":
            _method()
        else:
            runs.section()


def _place(step: Step) -> DeltaGenerator:
    """The container of a step. It is emptied when the step has changed: the browser would show the
    last step until this one is drawn. Otherwise it is kept, so that nothing flickers.
    """
    changed = st.session_state.get("tune_drawn") != step
    st.session_state["tune_drawn"] = step
    if not changed:
        return st.container()
    place = st.empty()
    time.sleep(FLUSH_S)  # a container sent too soon reaches the browser instead of the empty one
    return place.container()


def _choose_step() -> Step:
    names = {"rows": _("Rows"), "method": _("Method"), "runs": _("Runs")}
    step: Step | None = st.segmented_control(
        _("Steps of tuning"),
        STEPS,
        format_func=lambda step: f"{ICONS[step]} {STEPS.index(step) + 1} · {names[step]}",
        key=remembered("tune_step", _first_step(), STEPS),
        label_visibility="collapsed",
        width="stretch",
    )
    return step or "rows"


def _first_step() -> Step:
    """The runs where one is live, so that a user who comes back sees how far it is."""
    if "tune_step" in st.session_state.get("remembered", {}):
        return "rows"
    jobs = backend.client().tuner.jobs()
    return "runs" if any(job.status in runs.LIVE for job in jobs) else "rows"


def _method() -> None:
    chosen = rows.chosen()
    if chosen is None:
        st.info(_("Choose rows first: from a knowledge base, or a file."))
        return
    st.caption(rows.description(chosen))
    job = method.section(chosen.file, chosen.name, skip_bad=chosen.skip_bad)
    if job is not None:
        notify(
            "done",
            _("Started {name}. It goes on when this page is closed.", name=job.settings.name),
        )
        preset("tune_run", job.id)
        _go("runs")


def _go(step: Step) -> None:
    st.session_state["tune_next"] = step
    st.rerun()
