"""The runs of the tuning page: how far they are, their loss live, stop, resume, compare, use.

Knows the Tuner Protocol. A run has a process of its own: the page only looks at it, so it may be
closed and finds the run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from rwkv_rag.i18n import _
from rwkv_rag.types import JobStatus, TuneJob
from rwkv_rag.ui import amounts, chat, curve, parts
from rwkv_rag.ui.kept import keyed, put
from rwkv_rag.ui.notices import errors_shown
from rwkv_rag.ui.recipe import method_name
from rwkv_rag.ui.sources import plain, section_html

LIVE: tuple[JobStatus, ...] = ("waiting", "running")
EVERY_S = 1.5
LOG_LINES = 200


def section() -> None:
    """Draw the runs; while one is live they are drawn again every `EVERY_S` seconds."""
    live = any(job.status in LIVE for job in parts.shared().tuner.jobs())
    st.fragment(_watched, run_every=EVERY_S if live else None)(live)


def status_name(status: JobStatus) -> str:
    """A status in the session's language."""
    return {
        "waiting": _("waiting"),
        "running": _("running"),
        "stopped": _("stopped"),
        "interrupted": _("interrupted"),
        "failed": _("failed"),
        "done": _("finished"),
    }[status]


def _watched(live: bool) -> None:
    """One drawing of the runs; the whole page is drawn anew when the last live one has ended."""
    jobs = parts.shared().tuner.jobs()
    if not jobs:
        st.info(_("No run yet. Choose rows and a method, and start one."))
        return
    with errors_shown():
        _details(jobs)
    _all_runs(jobs)
    if live and not any(job.status in LIVE for job in jobs):
        st.rerun()


def _details(jobs: Sequence[TuneJob]) -> None:
    by_id = {job.id: job for job in jobs}
    titles = {id: _title(job) for id, job in by_id.items()}
    left, right = st.columns([3, 2])
    ids = list(by_id)
    chosen = left.selectbox(
        _("Run"), ids, format_func=titles.__getitem__, key=keyed("tune_run", ids[0], ids)
    )
    others = ["", *(id for id in ids if id != chosen)]
    other = right.selectbox(
        _("Compare with"),
        others,
        format_func=lambda id: titles.get(id, "–"),
        key=keyed("tune_other", "", others),
    )
    job = by_id[chosen or ids[0]]
    tuner = parts.shared().tuner
    known = [(each, tuner.metrics(each.id)) for each in (job, by_id.get(other or "")) if each]
    log = tuner.logs(job.id)
    _progress(job)
    _numbers(job)
    _actions(job)
    _curves(known)
    with st.expander(_("Log"), icon=":material/notes:"):
        st.code("\n".join(log.splitlines()[-LOG_LINES:]) or "–", language=None)


def _title(job: TuneJob) -> str:
    """Without words: a list keeps the one chosen as it was written when the language changes."""
    return f"{job.settings.name} · {_local_time(job.created)}"


def _local_time(iso: str) -> str:
    """A moment in this machine's time, to the minute."""
    try:
        return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return iso


def _progress(job: TuneJob) -> None:
    reason = _(job.reason)
    share = min(1.0, job.step / job.steps) if job.steps else 0.0
    place = _("step {step} of {steps}", step=f"{job.step:,}", steps=f"{job.steps:,}")
    st.progress(share, f"{status_name(job.status)} · {place}")
    if job.status == "failed":
        st.error(plain(reason or _("It ended without a word.")), icon=":material/error:")
    elif job.status == "interrupted":
        said = reason or _("Its process ended early. Resume goes on from the last checkpoint.")
        st.warning(plain(said), icon=":material/warning:")


def _numbers(job: TuneJob) -> None:
    first, second, third, fourth, fifth = st.columns([4, 5, 4, 5, 4])
    first.metric(_("Loss"), amounts.loss(job.loss))
    change = None
    if job.before is not None and job.after is not None:
        change = f"{job.after - job.before:+.3f}"
    shown = job.before if job.after is None else job.after
    second.metric(
        _("Held-out loss"),
        amounts.loss(shown),
        change,
        delta_color="inverse",
        help=_("On rows that are never trained on: before, and the change at the end."),
    )
    third.metric(_("Tokens/s"), _speed(job))
    left = job.eta_s if job.status in LIVE else None
    fourth.metric(_("Time left"), amounts.duration(left))
    fifth.metric(_("Memory"), amounts.memory(job.memory_bytes) if job.memory_bytes else "–")


def _speed(job: TuneJob) -> str:
    return f"{job.tokens_per_s:,.0f}" if job.tokens_per_s else "–"


def _actions(job: TuneJob) -> None:
    if job.status in LIVE:
        _stop_button(job)
    elif job.status == "done":
        said = _("Use in chat")
        if st.button(said, type="primary", icon=":material/forum:", key="tune_use"):
            use_in_chat(job)
    elif st.button(_("Resume"), type="primary", icon=":material/play_arrow:", key="tune_resume"):
        _stopping().discard(job.id)
        parts.shared().tuner.resume(job.id)
        st.rerun()
    if job.status not in LIVE:
        _forget(job)


def _forget(job: TuneJob) -> None:
    """Forgetting takes two clicks; the first one opens the question."""
    if st.button(_("Forget this run"), icon=":material/delete:", key="tune_forget"):
        st.session_state["forgetting"] = job.id
    if st.session_state.get("forgetting") != job.id:
        return
    name = job.settings.name
    st.warning(plain(_("Forget the run {name}? What it made is kept.", name=name)))
    yes, no = st.columns(2)
    if yes.button(_("Yes, forget"), type="primary", width="stretch", key="tune_forget_yes"):
        parts.shared().tuner.forget(job.id)
        del st.session_state["forgetting"]
        st.rerun()
    if no.button(_("Cancel"), width="stretch", key="tune_forget_no"):
        del st.session_state["forgetting"]
        st.rerun()


def _stop_button(job: TuneJob) -> None:
    asked = job.id in _stopping()
    said = _("Stopping …") if asked else _("Stop")
    if st.button(said, icon=":material/stop_circle:", disabled=asked, key="tune_stop"):
        parts.shared().tuner.stop(job.id)
        _stopping().add(job.id)
        st.rerun()


def _stopping() -> set[str]:
    asked: set[str] = st.session_state.setdefault("tune_stopping", set())
    return asked


def use_in_chat(job: TuneJob) -> None:
    """Open the chat with what the job made chosen, in free answers, on the model it belongs to."""
    st.session_state["tuned"] = job.settings.name
    st.session_state["mode"] = "free"
    for writer in parts.shared().models.writers():
        if writer.model == job.settings.base:
            put("model", writer.name)
    st.switch_page(st.Page(chat.page, url_path="chat"))


def _curves(known: Sequence[tuple[TuneJob, Sequence[Mapping[str, float]]]]) -> None:
    names = _names([job for job, _ in known])
    curves = [
        curve.curve(name, metrics, total=job.steps, before=job.before, after=job.after)
        for name, (job, metrics) in zip(names, known, strict=True)
    ]
    if not any(each.steps for each in curves):
        st.caption(_("The loss is drawn here as soon as there is a step."))
        return
    labels = curve.Labels(
        step=_("step"),
        loss=_("loss"),
        run=_("Run"),
        held_out=_("Held-out loss"),
        before=_("before"),
        after=_("after"),
    )
    st.vega_lite_chart(curve.values(curves, labels), curve.spec(curves, labels), width="stretch")
    st.caption(_("Thin: each step. Strong: running mean. Diamonds: rows held out."))


def _names(jobs: Sequence[TuneJob]) -> list[str]:
    """The runs' names, told apart by the time where they are the same."""
    names = [job.settings.name for job in jobs]
    if len(set(names)) == len(names):
        return names
    return [f"{job.settings.name} ({job.id})" for job in jobs]


def _all_runs(jobs: Sequence[TuneJob]) -> None:
    st.html(section_html(_("All runs")))
    done = _("progress")
    st.dataframe(
        [_row(job, done) for job in jobs],
        hide_index=True,
        width="stretch",
        column_config={
            done: st.column_config.ProgressColumn(min_value=0.0, max_value=1.0, format="percent")
        },
    )


def _row(job: TuneJob, done: str) -> dict[str, Any]:
    return {
        _("name"): job.settings.name,
        _("method"): method_name(job.settings.method),
        _("status"): status_name(job.status),
        done: job.step / job.steps if job.steps else 0.0,
        _("loss"): amounts.loss(job.loss),
        _("before"): amounts.loss(job.before),
        _("after"): amounts.loss(job.after),
        _("tokens/s"): _speed(job),
        _("memory"): amounts.memory(job.memory_bytes) if job.memory_bytes else "–",
    }
