"""The model that answers in the chat, and what was tuned of it, as chosen in the sidebar.

Knows names and figures of what is tuned, and loads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from rwkv_rag.i18n import _
from rwkv_rag.interfaces import Models
from rwkv_rag.rag.answering import Mode
from rwkv_rag.types import TunedInfo, Writer
from rwkv_rag.ui import backend
from rwkv_rag.ui.session import preset, remembered
from rwkv_rag.ui.sources import plain


@dataclass(frozen=True, slots=True)
class Choice:
    """A `Writer.model`, and the name of a state or adapter; both empty for what is in use."""

    model: str
    tuned: str


def choose(models: Models, mode: Mode) -> Choice:
    """Draw the choices there are and return what is chosen."""
    known = models.writers()
    if not st.session_state.get("model_preset"):
        st.session_state["model_preset"] = True
        st.session_state.setdefault("tuned", backend.settings().tuned)
    if not known:
        _warn_unfit(str(st.session_state.get("tuned", "")))
        return Choice("", "")
    _apply_preset(known)
    writer = _model(known)
    tuned = _tuned(models.tuned(writer.model))
    if tuned and mode == "strict" and not writer.own:
        st.caption(plain(_("Quotes are the reader's; the tuned memory writes free answers.")))
    return Choice(writer.model, tuned)


def _apply_preset(known: Sequence[Writer]) -> None:
    """What another page or the address asks for; a whole model is chosen as the model."""
    if asked := st.query_params.get("tuned"):
        del st.query_params["tuned"]
        preset("tuned", asked)
    wanted = str(st.session_state.get("tuned", ""))
    if wanted in {writer.name for writer in known}:
        preset("model", wanted)
        preset("tuned", "")


def _model(known: Sequence[Writer]) -> Writer:
    by_name = {writer.name: writer for writer in known}
    if len(by_name) == 1:
        return known[0]
    names = list(by_name)
    name = st.selectbox(_("Model"), names, key=remembered("model", names[0], names))
    return by_name[name or names[0]]


def _tuned(fitting: Sequence[TunedInfo]) -> str:
    names = ["", *(tuned.name for tuned in fitting)]
    _warn_unfit(str(st.session_state.get("tuned", "")), names)
    if not fitting:
        return ""
    preset = backend.settings().tuned
    name = st.selectbox(
        _("Tuned memory"),
        names,
        key=remembered("tuned", preset if preset in names else "", names),
        format_func=lambda name: name or _("none"),
        help=plain(" · ".join(_figures(tuned) for tuned in fitting)),
    )
    return name or ""


def _warn_unfit(name: str, fitting: Sequence[str] = ("",)) -> None:
    if name not in fitting:
        st.warning(plain(_("{name} does not belong to this model.", name=name)))


def _figures(tuned: TunedInfo) -> str:
    kinds = {"state": _("state"), "adapter": _("adapter"), "model": _("Model")}
    if tuned.before is None or tuned.after is None:
        return f"{tuned.name}: {kinds[tuned.kind]}"
    loss = _("loss {before:.2f} → {after:.2f}", before=tuned.before, after=tuned.after)
    return f"{tuned.name}: {kinds[tuned.kind]}, {loss}"
