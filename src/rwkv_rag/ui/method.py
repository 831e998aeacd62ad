"""The method of a fine-tuning: its kind, its length, its options, what it needs; and the start.

Knows the Tuner Protocol. Only what a newcomer has to decide stands open; the rest has defaults.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import streamlit as st

from rwkv_rag import models
from rwkv_rag.config import BUILTIN
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import N_, _
from rwkv_rag.tuning import tracking
from rwkv_rag.types import TuneEstimate, TuneJob, TuneMethod, TuneSettings
from rwkv_rag.ui import amounts, backend
from rwkv_rag.ui.session import errors_shown, remembered
from rwkv_rag.ui.sources import plain

ADAPTERS: tuple[TuneMethod, ...] = ("lora", "pissa", "miss")
USUAL = TuneSettings(name="", data=Path())


NAMES: dict[TuneMethod, str] = {
    "state": N_("Memory state"),
    "lora": "LoRA",
    "pissa": "PiSSA",
    "miss": "MiSS",
    "full": N_("All weights"),
}
METHODS = tuple(NAMES)


def method_name(method: TuneMethod) -> str:
    """A method in the session's language."""
    return _(NAMES[method])


def section(data: Path, name: str, *, skip_bad: bool) -> TuneJob | None:
    """Draw the choice of a method for the rows in `data`; the job, when it was just started."""
    method = _method()
    left, right = st.columns(2)
    store = models.tuned_store(backend.settings()).folder
    taken = {job.settings.name for job in backend.client().tuner.jobs()}
    taken |= {each.name for each in store.iterdir()} if store.is_dir() else set()
    wanted = free_name(f"{result_name(name)}-{method}", taken)
    called = left.text_input(
        _("Name of the result"),
        key=remembered(f"tune_name_{wanted}", wanted),
        max_chars=64,
    )
    steps = right.number_input(
        _("Steps"),
        1,
        10_000_000,
        step=50,
        key=remembered("tune_steps", USUAL.steps),
        help=_("One step reads a batch of rows and changes the weights a little."),
    )
    settings = TuneSettings(
        name=called.strip(),
        data=data,
        method=method,
        steps=int(steps),
        skip_bad=skip_bad,
        **_advanced(method),
    )
    fits = _estimate(settings)
    if st.button(
        _("Start"), type="primary", icon=":material/play_arrow:", disabled=not fits, width=240
    ):
        with errors_shown():
            return backend.client().tuner.start(settings)
    return None


def result_name(name: str) -> str:
    """A file's name as the name of a result may be: letters, digits and - _ . only."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:40] or "rows"


def free_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, with the first free number behind it where it is taken."""
    names = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, 10_000))
    return next(name for name in names if name not in taken)


def _method() -> TuneMethod:
    reasons = {
        "state": _(
            "Small and fast: trains only the memory a chat begins with. For a style, a format, "
            "a manner of answering. Begin here."
        ),
        "lora": _("A small addition to the weights. For a subject that a state cannot hold."),
        "pissa": _("Like LoRA, begun at the weights' main directions; often learns faster."),
        "miss": _("Like LoRA with half the numbers; try it where memory is short."),
        "full": _("Trains everything. For many rows and much memory; the result is a model."),
    }
    method: TuneMethod | None = st.radio(
        _("Method"),
        METHODS,
        format_func=method_name,
        captions=[plain(reasons[method]) for method in METHODS],
        key=remembered("tune_method", "state", METHODS),
    )
    return method or "state"


def _advanced(method: TuneMethod) -> dict[str, Any]:
    """The fields of TuneSettings that have defaults good enough for most."""
    with st.expander(_("Options"), icon=":material/tune:"):
        return {
            **_learning(),
            **_reading(),
            **(_adapter() if method in ADAPTERS else {}),
            **_machine(method),
            **_tracking(),
        }


def _learning() -> dict[str, Any]:
    first, last, schedule, held = st.columns(4)
    schedules = ("cosine", "wsd")
    return {
        "lr": _rate(first, _("Learning rate, first"), "lr"),
        "lr_final": _rate(last, _("Learning rate, last"), "lr_final"),
        "schedule": schedule.selectbox(
            _("Schedule"),
            schedules,
            key=remembered("tune_schedule", USUAL.schedule, schedules),
        ),
        "held_out": held.number_input(
            _("Share held out"),
            0.0,
            0.9,
            step=0.05,
            key=remembered("tune_held_out", USUAL.held_out),
            help=_("These rows are never trained on; they tell whether it really learned."),
        ),
    }


def _rate(place: Any, label: str, field: str) -> float | None:
    rate: float | None = place.number_input(
        label,
        1e-9,
        1000.0,
        None,
        1e-4,
        "%.2e",
        key=remembered(f"tune_{field}", None),
        placeholder=_("automatic"),
    )
    return rate


def _reading() -> dict[str, Any]:
    batch, accumulate, context, chunk = st.columns(4)
    scored = st.radio(
        _("What is learned"),
        ("answers", "all"),
        format_func={"answers": _("answers only"), "all": _("every word")}.__getitem__,
        horizontal=True,
        key=remembered("tune_scored", USUAL.scored, ("answers", "all")),
    )
    return {
        "batch": _whole(batch, _("Rows a step"), "batch", 1, 4096),
        "accumulate": _whole(accumulate, _("Accumulated passes"), "accumulate", 1, 4096),
        "context": _whole(context, _("Context (tokens)"), "context", 16, 1 << 20, step=64),
        "chunk": _whole(
            chunk,
            _("Segment (tokens)"),
            "chunk",
            0,
            1 << 20,
            step=64,
            help=_("Above 0, rows of any length are read in segments, the memory carried on."),
        ),
        "scored": scored or USUAL.scored,
    }


def _whole(
    place: Any, label: str, field: str, low: int, high: int, *, step: int = 1, help: str = ""
) -> int:
    key = remembered(f"tune_{field}", getattr(USUAL, field))
    return int(place.number_input(label, low, high, step=step, key=key, help=help or None))


def _adapter() -> dict[str, Any]:
    left, right = st.columns([1, 3])
    names = {"att": "att: R, K, V, O", "ffn": "ffn: K, V", "low_rank": "w, a, v, g"}
    chosen = right.multiselect(
        _("Parts reached"),
        list(names),
        format_func=names.__getitem__,
        key=remembered("tune_parts", list(USUAL.parts)),
    )
    return {"rank": _whole(left, _("Rank"), "rank", 1, 1024), "parts": tuple(chosen)}


def _machine(method: TuneMethod) -> dict[str, Any]:
    base, precision, quantization, seed = st.columns(4)
    writers = backend.client().models.writers()
    bases = {writer.name: writer.model for writer in writers} or {BUILTIN: BUILTIN}
    first = next(iter(bases))
    precisions, quantizations = ("auto", "bf16", "fp32"), ("none", "int8", "nf4")
    name = base.selectbox(
        _("Base model"), list(bases), key=remembered("tune_base", first, list(bases))
    )
    chosen = {
        "base": bases[name or first],
        "precision": precision.selectbox(
            _("Precision"), precisions, key=remembered("tune_precision", "auto", precisions)
        ),
        "quantization": "none"
        if method == "full"
        else quantization.selectbox(
            _("Quantized base"),
            quantizations,
            key=remembered("tune_quantization", "none", quantizations),
            help=_("Needs a GPU."),
        ),
        "seed": _whole(seed, _("Seed"), "seed", 0, 2**31 - 1),
    }
    chosen["checkpointing"] = st.checkbox(
        _("Gradient checkpointing: less memory, slower"),
        key=remembered("tune_checkpointing", USUAL.checkpointing),
    )
    return chosen


def _tracking() -> dict[str, Any]:
    modes = ("off", "offline", "online")
    left, right = st.columns([1, 3])
    mode = left.selectbox("Weights & Biases", modes, key=remembered("tune_wandb", "off", modes))
    project = right.text_input(
        _("Project"), key=remembered("tune_project", USUAL.wandb_project), disabled=mode == "off"
    )
    if mode != "off":
        st.caption(_login(tracking.wandb_login()))
    return {"wandb": mode or "off", "wandb_project": project}


def _login(state: str) -> str:
    return {
        "logged in": _("Logged in to Weights & Biases."),
        "missing": _("Weights & Biases is not installed: pip install 'rwkv-rag[wandb]'"),
    }.get(state, _("Not logged in: the run is kept offline. To log in: wandb login"))


def _estimate(settings: TuneSettings) -> bool:
    """Show what `settings` need; whether they can be started."""
    try:
        with st.spinner(_("Estimating …")):
            needs = backend.client().tuner.estimate(settings)
    except RagError as error:
        st.error(plain(_(error)), icon=":material/error:")
        return False
    _show_needs(needs)
    return needs.fits


def _show_needs(needs: TuneEstimate) -> None:
    memory, time, trainable = st.columns(3)
    memory.metric(
        _("Memory needed"),
        amounts.memory(needs.memory_bytes),
        _("of {free} free", free=amounts.memory(needs.available_bytes)),
        delta_color="off",
        delta_arrow="off",
    )
    time.metric(_("Time, about"), amounts.duration(needs.seconds))
    trainable.metric(_("Numbers trained"), amounts.count(needs.trainable))
    if needs.fits:
        return
    text = _("This does not fit into the memory of this machine.")
    if needs.cheaper:
        text += " " + _("What would fit: {ways}.", ways=", ".join(map(_, needs.cheaper)))
    st.warning(plain(text), icon=":material/memory:")
