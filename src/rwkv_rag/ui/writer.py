"""Who writes in the chat: the model, and what it was tuned to; chosen in the sidebar, at any time.

Knows names and figures of what is tuned, and loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from rwkv_rag import models
from rwkv_rag.config import Settings
from rwkv_rag.rag.answering import Mode
from rwkv_rag.rwkv.tuned import Tuned
from rwkv_rag.ui.kept import keyed, put
from rwkv_rag.ui.sources import plain
from rwkv_rag.ui.words import text


@dataclass(frozen=True, slots=True)
class Writer:
    """The model as `Settings.model` has it, and the name of a state or adapter, if any."""

    model: str
    tuned: str


def chosen(settings: Settings, mode: Mode) -> Writer:
    """Draw the choices there are and return what is chosen."""
    if "writer" not in st.session_state:
        st.session_state["writer"] = True
        st.session_state.setdefault("tuned", settings.tuned)
    known = models.writers(settings)
    if not known:
        _say_unfit(str(st.session_state.get("tuned", "")))
        return Writer(settings.model, "")
    _take_preset(known)
    model = _model(settings, known)
    fitting = models.tuned_on(replace(settings, model=model))
    tuned = _tuned(settings, fitting)
    if tuned and mode == "strict" and models.quotes_by_reader(replace(settings, model=model)):
        st.caption(plain(text("Quotes are the reader's; the tuned memory writes free answers.")))
    return Writer(model, tuned)


def _take_preset(known: dict[str, str]) -> None:
    """What another page or the address asks for; a whole model is chosen as the model."""
    if asked := st.query_params.get("tuned"):
        del st.query_params["tuned"]
        put("tuned", asked)
    wanted = str(st.session_state.get("tuned", ""))
    if wanted in known:
        put("model", wanted)
        put("tuned", "")


def _model(settings: Settings, known: dict[str, str]) -> str:
    names = list(known)
    first = next(name for name, model in known.items() if model == settings.model)
    if len(names) == 1:
        return settings.model
    name = st.selectbox(text("Model"), names, key=keyed("model", first, names))
    return known[name or first]


def _tuned(settings: Settings, fitting: Sequence[Tuned]) -> str:
    known = {tuned.name: tuned for tuned in fitting}
    names = ["", *known]
    _say_unfit(str(st.session_state.get("tuned", "")), names)
    if not known:
        return ""
    default = settings.tuned if settings.tuned in known else ""
    key = keyed("tuned", default, names)
    name = st.selectbox(
        text("Tuned memory"),
        names,
        key=key,
        format_func=lambda name: name or text("none"),
        help=plain(" · ".join(_figures(tuned) for tuned in fitting)),
    )
    return name or ""


def _say_unfit(name: str, fitting: Sequence[str] = ("",)) -> None:
    if name not in fitting:
        st.warning(plain(text("{name} does not belong to this model.", name=name)))


def _figures(tuned: Tuned) -> str:
    kinds = {"state": text("state"), "adapter": text("adapter"), "model": text("Model")}
    if tuned.before is None or tuned.after is None:
        return f"{tuned.name}: {kinds[tuned.kind]}"
    loss = text("loss {before:.2f} → {after:.2f}", before=tuned.before, after=tuned.after)
    return f"{tuned.name}: {kinds[tuned.kind]}, {loss}"
