"""The knowledge page: make and delete knowledge bases, see their documents, upload new ones.

Knows no file format and no store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import streamlit as st

from rwkv_rag import app
from rwkv_rag.i18n import _
from rwkv_rag.knowledge.uploads import Uploads
from rwkv_rag.types import KnowledgeBase
from rwkv_rag.ui import backend
from rwkv_rag.ui.session import errors_shown, notify, show_notices
from rwkv_rag.ui.sources import plain, section_html, title_html

SUFFIXES = ["txt", "md", "pdf"]


def page() -> None:
    """Draw the page."""
    client = backend.client()
    bases = client.knowledge.bases()
    st.html(title_html(_("Knowledge"), _("Documents stay in one directory on this machine.")))
    show_notices()
    _create(client, expanded=not bases)
    if not bases:
        return
    names = [base.name for base in bases]
    chosen = st.selectbox(_("Knowledge base"), names, key="shown_base")
    base = next(base for base in bases if base.name == chosen)
    size = _(
        "{documents} documents · {chunks} passages · {size}/{overlap} characters",
        documents=base.documents,
        chunks=base.chunks,
        size=base.chunk_size,
        overlap=base.chunk_overlap,
    )
    st.caption(size)
    _add_documents(client, base)
    _documents(client, base)
    _delete(client, base)


def _create(client: app.Client, *, expanded: bool) -> None:
    with st.expander(_("New knowledge base"), expanded=expanded, icon=":material/add:"):
        with st.form("create", border=False):
            name = st.text_input(_("Name"), key="new_name", max_chars=64)
            left, right = st.columns(2)
            size = left.number_input(
                _("Passage length (characters)"), 50, 4000, backend.settings().chunk_size, 50
            )
            overlap = right.number_input(
                _("Overlap (characters)"), 0, 1000, backend.settings().chunk_overlap, 10
            )
            wanted = st.form_submit_button(_("Create"), type="primary")
        if not wanted:
            return
        with errors_shown():
            client.knowledge.create(name.strip(), chunk_size=int(size), chunk_overlap=int(overlap))
            st.session_state["shown_base"] = name.strip()
            notify("done", _("Created {name}.", name=name.strip()))
            st.rerun()


def _add_documents(client: app.Client, base: KnowledgeBase) -> None:
    st.html(section_html(_("Add documents")))
    uploads = st.file_uploader(
        _("Text, Markdown or PDF files"),
        type=SUFFIXES,
        accept_multiple_files=True,
        key=f"uploads_{st.session_state.get('upload_round', 0)}",
    )
    if st.button(_("Index"), type="primary", disabled=not uploads, icon=":material/bolt:"):
        with errors_shown():
            _index(client, base.name, uploads)
            st.session_state["upload_round"] = st.session_state.get("upload_round", 0) + 1
            st.rerun()


def _index(client: app.Client, name: str, uploads: Sequence[Any]) -> None:
    """Write the uploads into a folder that lives as long as the indexing; read them there."""
    outcome: Counter[str] = Counter()
    bar = st.progress(0.0, _("Indexing …"))
    with closing(Uploads()) as folder:
        paths = folder.keep((upload.name, upload) for upload in uploads)
        for event in client.knowledge.index(name, paths):
            share = event.chunks_done / event.chunks_total if event.chunks_total else 0.0
            done = event.done + (share if event.stage == "embedding" else 0.0)
            bar.progress(min(1.0, done / max(1, event.total)), plain(event.document))
            outcome[event.stage] += 1
            if event.stage == "skipped":
                skipped = {"document": event.document, "reason": _(event.reason)}
                notify("skipped", _("skipped {document}: {reason}", **skipped))
    indexed = outcome["indexed"] + outcome["replaced"]
    if indexed or outcome["unchanged"]:
        text = _(
            "{indexed} indexed, {unchanged} unchanged, {skipped} skipped.",
            indexed=indexed,
            unchanged=outcome["unchanged"],
            skipped=outcome["skipped"],
        )
        notify("done", text)


def _documents(client: app.Client, base: KnowledgeBase) -> None:
    st.html(section_html(_("Documents")))
    documents = client.knowledge.documents(base.name)
    if not documents:
        st.caption(_("No documents yet."))
        return
    rows = [
        {
            _("document"): info.name,
            _("kind"): info.media_type,
            _("characters"): info.characters,
            _("pages"): str(info.pages or "–"),
            _("passages"): info.chunks,
        }
        for info in documents
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    name = left.selectbox(_("Remove a document"), [info.name for info in documents])
    if right.button(_("Remove"), width="stretch") and name:
        with errors_shown():
            client.knowledge.remove(base.name, name)
            st.rerun()


def _delete(client: app.Client, base: KnowledgeBase) -> None:
    """Deleting takes two clicks; the first one opens the question."""
    if st.button(_("Delete this knowledge base"), icon=":material/delete:"):
        st.session_state["deleting"] = base.name
    if st.session_state.get("deleting") != base.name:
        return
    question = _(
        "Delete {name} with its {documents} documents? This cannot be undone.",
        name=base.name,
        documents=base.documents,
    )
    st.warning(plain(question))
    yes, no = st.columns(2)
    if yes.button(_("Yes, delete"), type="primary", width="stretch"):
        with errors_shown():
            client.knowledge.delete(base.name)
            del st.session_state["deleting"]
            notify("done", _("Deleted {name}.", name=base.name))
            st.rerun()
    if no.button(_("Cancel"), width="stretch"):
        del st.session_state["deleting"]
        st.rerun()
