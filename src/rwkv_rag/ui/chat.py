"""The chat page: questions, streamed answers, and their sources with the quotes marked.

Knows no store and no model. A session's conversation lives in its own `st.session_state` only.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from rwkv_rag import app
from rwkv_rag.i18n import _
from rwkv_rag.rag import rewrite
from rwkv_rag.rag.answering import Mode
from rwkv_rag.types import Answer, Citation, Delta, Hit
from rwkv_rag.ui import backend, model_choice, sources
from rwkv_rag.ui.session import errors_shown, remembered

MODES: tuple[Mode, ...] = ("strict", "free")
PERSON, BOOK = ":material/person:", ":material/menu_book:"


@dataclass(frozen=True, slots=True)
class Options:
    """The choices in the sidebar."""

    base: str
    mode: Mode
    top_k: int
    model: model_choice.Choice


def page() -> None:
    """Draw the page and answer the question just typed, if any."""
    client = backend.client()
    bases = [base.name for base in client.knowledge.bases()]
    claim = _("“Quotes only” answers are word for word. Nothing leaves this machine.")
    st.html(sources.title_html(_("Ask your documents"), claim))
    if not bases:
        st.info(_("There is no knowledge base yet. Make one on the Knowledge page."))
        return
    options = _options(bases, client)
    turns: list[tuple[str, Answer]] = st.session_state.setdefault("turns", [])
    for question, answer in turns:
        _show_question(question)
        with st.chat_message("assistant", avatar=BOOK):
            st.html(sources.answer_html(answer))
            _show_proof(question, answer)
    if asked := st.chat_input(_("Your question"), max_chars=4000):
        question = str(asked)
        _show_question(question)
        with st.chat_message("assistant", avatar=BOOK), errors_shown():
            answer = _stream(client, options, question, turns)
            _show_proof(question, answer)
            turns.append((question, answer))


def _options(bases: list[str], client: app.Client) -> Options:
    names = {"strict": _("Quotes only"), "free": _("Free")}
    with st.sidebar:
        base = st.selectbox(_("Knowledge base"), bases, key="base")
        mode = st.radio(
            _("Answers"),
            MODES,
            format_func=names.__getitem__,
            help=_("Quotes only: the exact words of your documents. Free: the model writes."),
            horizontal=True,
            key=remembered("mode", "strict", MODES),
        )
        with errors_shown():  # a question can be asked all the same: its answer waits for a worker
            st.session_state["chosen_model"] = model_choice.choose(client.models, mode or "strict")
        passages = st.slider(_("Passages"), 1, 20, backend.settings().top_k, key="top_k")
        if st.button(_("New chat"), icon=":material/add_comment:", width="stretch"):
            st.session_state["turns"] = []
    model = st.session_state.get("chosen_model", model_choice.Choice("", ""))
    return Options(base or bases[0], mode or "strict", passages, model)


def _show_question(question: str) -> None:
    with st.chat_message("user", avatar=PERSON):
        st.html(sources.text_html(question))


def _stream(
    client: app.Client, options: Options, question: str, turns: list[tuple[str, Answer]]
) -> Answer:
    """Answer `question`, showing the text as it comes."""
    history = [rewrite.remembered(asked, answer) for asked, answer in turns[-rewrite.TURNS :]]
    place, shown = st.empty(), ""
    place.caption(_("Looking for passages …"))

    writer = client.writer(options.model.model, options.model.tuned)
    pipeline = client.pipeline(writer)
    for event in pipeline.answer(
        question, kb=options.base, mode=options.mode, history=history, top_k=options.top_k
    ):
        if isinstance(event, Delta):
            shown += event.text
            place.html(sources.text_html(shown))
        else:
            answer = event
    place.html(sources.answer_html(answer))
    return answer


def _show_proof(question: str, answer: Answer) -> None:
    """The cited passages, the others that were found, and the small print."""
    for number, citation in enumerate(answer.citations, start=1):
        _show_citation(number, citation, sources.hit_of(answer, citation))
    cited = {citation.chunk for citation in answer.citations}
    others = [hit for hit in answer.hits if hit.chunk.id not in cited]
    if others:
        with st.expander(_("Passages found") + f" ({len(others)})", icon=":material/search:"):
            for hit in others:
                st.html(_place(hit) + sources.hit_html(hit))
    read_as = _("understood as: {query}", query=answer.query) if answer.query != question else ""
    seconds = _("{seconds:.1f} s", seconds=answer.timings.get("total", 0.0))
    st.html(sources.note_html(read_as, answer.note, seconds))


def _show_citation(number: int, citation: Citation, hit: Hit | None) -> None:
    page = _page(citation.page)
    label = " · ".join(part for part in (citation.document, page) if part)
    with st.expander(
        f"**{number}** {sources.plain(label)}", expanded=number == 1, icon=":material/format_quote:"
    ):
        heading = hit.chunk.heading if hit else ""
        place = sources.place_html("", "", citation.start, citation.end, heading)
        st.html(place + sources.passage_html(citation, hit))


def _place(hit: Hit) -> str:
    chunk = hit.chunk
    return sources.place_html(
        chunk.document, _page(chunk.page), chunk.start, chunk.end, chunk.heading
    )


def _page(number: int | None) -> str:
    return "" if number is None else _("page {number}", number=number)
