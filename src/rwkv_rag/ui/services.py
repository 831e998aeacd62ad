"""The services page: what runs, how busy it is, and a restart of each service.

Knows the Supervision Protocol. Without services it only shows a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from rwkv_rag.i18n import _
from rwkv_rag.interfaces import Supervision
from rwkv_rag.types import QueueStatus, ServiceStatus
from rwkv_rag.ui import amounts, backend
from rwkv_rag.ui.session import errors_shown, fragment
from rwkv_rag.ui.sources import plain, section_html, title_html

EVERY_S = 2.0
STYLE = "<style>.stMainBlockContainer {max-width: 62rem;}</style>"
OWN = "ui"
"""The service of the pages; a page that restarts it would not see the end of that."""


def page() -> None:
    """Draw the page; the figures are drawn again every `EVERY_S` seconds."""
    st.html(STYLE)
    claim = _("Each service has a queue, and workers in processes of their own.")
    st.html(title_html(_("Services"), claim))
    client = backend.client()
    supervision = client.supervision
    if supervision is None:
        here = _("Everything runs in this process. Services are started with: rwkv-rag up")
        away = _("The services run elsewhere; look at them there: rwkv-rag status")
        st.info(away if client.connected else here)
        return
    fragment(_watched, supervision, every_s=EVERY_S)


def _watched(supervision: Supervision) -> None:
    """One look at everything. A supervisor that is gone is one line, until it is back."""
    with errors_shown():
        services = supervision.status()
        st.dataframe([_row(service) for service in services], hide_index=True, width="stretch")
        _reasons(services)
        _workers(services)
        _restart(supervision, [each.name for each in services if each.name != OWN])


def _row(service: ServiceStatus) -> dict[str, Any]:
    return {
        _("service"): service.name,
        _("state"): _(service.state),
        **_queue(service.queue),
        _("memory"): amounts.memory(service.memory_bytes),
        _("restarts"): str(service.restarts),
    }


def _queue(queue: QueueStatus | None) -> dict[str, str]:
    """The columns that only a service with a queue fills."""
    titles = [_("queue"), _("workers"), _("in flight"), "p50", "p95", _("model")]
    if queue is None:
        return dict.fromkeys(titles, "–")
    models = {str(worker.facts.get("model") or "") for worker in queue.workers} - {""}
    figures = [
        f"{sum(queue.waiting.values()):,}",
        str(len(queue.workers)),
        str(queue.in_flight),
        amounts.latency(queue.latency_s.get("p50")),
        amounts.latency(queue.latency_s.get("p95")),
        ", ".join(sorted(models)) or "–",
    ]
    return dict(zip(titles, figures, strict=True))


def _reasons(services: Sequence[ServiceStatus]) -> None:
    for service in services:
        if service.reason:
            show = st.error if service.state == "failed" else st.warning
            show(plain(f"{service.name}: {_(service.reason)}"), icon=":material/warning:")


def _workers(services: Sequence[ServiceStatus]) -> None:
    st.html(section_html(_("Workers")))
    rows = [
        {
            _("service"): service.name,
            _("worker"): worker.name,
            _("in flight"): f"{worker.in_flight}/{worker.slots}",
            _("served"): worker.served,
            _("memory"): amounts.memory(int(worker.facts.get("memory_bytes") or 0)),
            _("device"): str(worker.facts.get("device") or "–"),
            _("heard"): _("{seconds:.1f} s", seconds=worker.heard_s),
        }
        for service in services
        if service.queue
        for worker in service.queue.workers
    ]
    if rows:
        st.dataframe(rows, hide_index=True, width="stretch")
    else:
        st.caption(_("No worker has joined yet."))


def _restart(supervision: Supervision, names: Sequence[str]) -> None:
    """Buttons that restart a service, and wait until it has."""
    st.html(section_html(_("Restart")))
    st.caption(_("Requests wait meanwhile; the other services keep working."))
    places = st.columns(max(4, len(names)))
    wanted = [
        name
        for place, name in zip(places, names, strict=False)
        if place.button(name, icon=":material/restart_alt:", width="stretch", key=f"restart_{name}")
    ]
    for name in wanted:
        with st.spinner(_("Restarting {name} …", name=name)):
            for status in supervision.restart(name):
                last = status
        st.success(plain(f"{name}: {_(last.state)}"))
