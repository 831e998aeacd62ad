"""The runs of the tuning page: how far they are, their loss live, stop, resume, compare, use.

Knows the Tuner Protocol. A run is a process of its own, which goes on when the page is closed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

import streamlit as st

from rwkv_rag.i18n import _
from rwkv_rag.types import JobStatus, TuneJob
from rwkv_rag.ui import amounts, backend, chat
from rwkv_rag.ui.method import method_name
from rwkv_rag.ui.session import errors_shown, fragment, preset, remembered
from rwkv_rag.ui.sources import plain, section_html

LIVE: tuple[JobStatus, ...] = ("waiting", "running")
EVERY_S = 1.5
LOG_LINES = 200
POINTS = 400
"""Points drawn of a run; more only make the browser slow."""
COLOURS = ("#0f766e", "#d97706")

Metrics = Sequence[Mapping[str, float]]
Point = dict[str, Any]
"""A value of the chart: a step with its loss and mean, or a loss with the name of its mark."""


def section() -> None:
    """Draw the runs; while one is live they are drawn again every `EVERY_S` seconds."""
    live = any(job.status in LIVE for job in backend.client().tuner.jobs())
    fragment(_watched, live, every_s=EVERY_S if live else None)


def _watched(live: bool) -> None:
    """One drawing of the runs; the whole page is drawn anew when the last live one has ended."""
    jobs = backend.client().tuner.jobs()
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
        _("Run"), ids, format_func=titles.__getitem__, key=remembered("tune_run", ids[0], ids)
    )
    others = ["", *(id for id in ids if id != chosen)]
    other = right.selectbox(
        _("Compare with"),
        others,
        format_func=lambda id: titles.get(id, "–"),
        key=remembered("tune_other", "", others),
    )
    job = by_id[chosen or ids[0]]
    tuner = backend.client().tuner
    known = [(each, tuner.metrics(each.id)) for each in (job, by_id.get(other or "")) if each]
    log = tuner.logs(job.id)
    _progress(job)
    _numbers(job)
    _actions(job)
    _curves(known)
    with st.expander(_("Log"), icon=":material/notes:"):
        st.code("\n".join(log.splitlines()[-LOG_LINES:]) or "–", language=None)


def _title(job: TuneJob) -> str:
    """Without words: a list keeps its choice as it was written when the language changes."""
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
    st.progress(share, f"{_(job.status)} · {place}")
    if job.status == "failed":
        st.error(plain(reason or _("It ended without giving a reason.")), icon=":material/error:")
    elif job.status == "interrupted":
        early = _("Its process ended early. Resume goes on from the last checkpoint.")
        st.warning(plain(reason or early), icon=":material/warning:")


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
    fifth.metric(_("Memory"), amounts.memory(job.memory_bytes))


def _speed(job: TuneJob) -> str:
    return f"{job.tokens_per_s:,.0f}" if job.tokens_per_s else "–"


def _actions(job: TuneJob) -> None:
    if job.status in LIVE:
        _stop_button(job)
    elif job.status == "done":
        if st.button(_("Use in chat"), type="primary", icon=":material/forum:", key="tune_use"):
            use_in_chat(job)
    elif st.button(_("Resume"), type="primary", icon=":material/play_arrow:", key="tune_resume"):
        _stopping().discard(job.id)
        backend.client().tuner.resume(job.id)
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
        backend.client().tuner.forget(job.id)
        del st.session_state["forgetting"]
        st.rerun()
    if no.button(_("Cancel"), width="stretch", key="tune_forget_no"):
        del st.session_state["forgetting"]
        st.rerun()


def _stop_button(job: TuneJob) -> None:
    asked = job.id in _stopping()
    label = _("Stopping …") if asked else _("Stop")
    if st.button(label, icon=":material/stop_circle:", disabled=asked, key="tune_stop"):
        backend.client().tuner.stop(job.id)
        _stopping().add(job.id)
        st.rerun()


def _stopping() -> set[str]:
    asked: set[str] = st.session_state.setdefault("tune_stopping", set())
    return asked


def use_in_chat(job: TuneJob) -> None:
    """Open the chat with what the job made chosen, in free answers, on the model it belongs to."""
    preset("tuned", job.settings.name)
    preset("mode", "free")
    for writer in backend.client().models.writers():
        if writer.model == job.settings.base:
            preset("model", writer.name)
    st.switch_page(st.Page(chat.page, url_path="chat"))


def _curves(known: Sequence[tuple[TuneJob, Metrics]]) -> None:
    names = _names([job for job, _metrics in known])
    points = [
        point
        for name, (job, metrics) in zip(names, known, strict=True)
        for point in [*curve(name, metrics), *held_out(name, job)]
    ]
    if not any("mean" in point for point in points):
        st.caption(_("The loss is drawn here as soon as there is a step."))
        return
    total = max(job.steps for job, _metrics in known)
    st.altair_chart(chart(points, names, total), width="stretch")
    st.caption(_("Thin: each step. Strong: running mean. Diamonds: rows held out."))


def curve(name: str, metrics: Metrics, *, points: int = POINTS) -> list[Point]:
    """A run's loss by its steps, averaged to at most `points`, with a running mean over it.

    What is no number is left out.
    """
    known = [(int(each["step"]), float(each["loss"])) for each in metrics if "loss" in each]
    known = [(step, loss) for step, loss in known if math.isfinite(loss)]
    size = max(1, math.ceil(len(known) / points))
    buckets = [known[start : start + size] for start in range(0, len(known), size)]
    steps = [bucket[-1][0] for bucket in buckets]
    losses = [sum(loss for _step, loss in bucket) / len(bucket) for bucket in buckets]
    return [
        {"run": name, "step": step, "loss": loss, "mean": mean}
        for step, loss, mean in zip(steps, losses, running_mean(losses), strict=True)
    ]


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean over about a tenth of the values around each; at the ends over what is there.

    As many before as behind, so that the curve does not lag behind a loss that falls.
    """
    reach = max(1, min(20, len(values) // 20))
    sums = [0.0, *accumulate(values)]
    means = []
    for place in range(len(values)):
        near = min(reach, place, len(values) - 1 - place)
        means.append((sums[place + near + 1] - sums[place - near]) / (2 * near + 1))
    return means


def held_out(name: str, job: TuneJob) -> list[Point]:
    """The losses on rows held out, before the first step and after the last one."""
    marks = ((0, job.before, _("before")), (job.step, job.after, _("after")))
    return [
        {"run": name, "step": step, "loss": loss, "mark": mark}
        for step, loss, mark in marks
        if loss is not None and math.isfinite(loss)
    ]


def chart(points: Sequence[Point], names: Sequence[str], total: int) -> Any:
    """The loss of the runs `names` over `total` steps: one colour each, as an Altair chart."""
    import altair as alt

    def loss(field: str) -> Any:
        return alt.Y(field, type="quantitative", title=_("loss"), scale=alt.Scale(zero=False))

    tips = [alt.Tooltip("run:N", title=_("Run")), alt.Tooltip("step:Q", title=_("step"))]
    tips.append(alt.Tooltip("loss:Q", title=_("loss"), format=".3f"))
    data = alt.Data(values=list(points))  # type: ignore[no-untyped-call]
    base = alt.Chart(data).encode(
        x=alt.X(
            "step:Q",
            title=_("step"),
            axis=alt.Axis(tickMinStep=1, grid=False),
            scale=alt.Scale(domain=[0, max(1, total)], nice=False),
        ),
        color=alt.Color(
            "run:N",
            scale=alt.Scale(domain=list(names), range=list(COLOURS[: len(names)])),
            legend=alt.Legend(orient="top", title=None) if len(names) > 1 else None,
        ),
        tooltip=tips,
    )
    lines = base.transform_filter("isValid(datum.mean)")
    marks = base.transform_filter("isValid(datum.mark)")
    return alt.layer(
        lines.mark_line(strokeWidth=1, opacity=0.35).encode(y=loss("loss")),
        lines.mark_line(strokeWidth=2.6, interpolate="monotone").encode(y=loss("mean")),
        marks.mark_point(shape="diamond", size=140, filled=True, opacity=1).encode(
            y=loss("loss"), tooltip=[*tips, alt.Tooltip("mark:N", title=_("Held-out loss"))]
        ),
    ).properties(height=330)


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
        _("status"): _(job.status),
        done: job.step / job.steps if job.steps else 0.0,
        _("loss"): amounts.loss(job.loss),
        _("before"): amounts.loss(job.before),
        _("after"): amounts.loss(job.after),
        _("tokens/s"): _speed(job),
        _("memory"): amounts.memory(job.memory_bytes),
    }
