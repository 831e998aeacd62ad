"""The rows of the tuning page: made from a knowledge base or read from a file, then edited.

Knows neither how rows are made nor how they are read; `table` knows their forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from rwkv_rag import app
from rwkv_rag.errors import InputError, Message
from rwkv_rag.i18n import _
from rwkv_rag.knowledge.uploads import safe_name
from rwkv_rag.ui import backend, table
from rwkv_rag.ui.session import errors_shown, remembered
from rwkv_rag.ui.sources import plain

SUFFIXES = (".jsonl", ".jsonl.xz", ".jsonl.gz")
EDITABLE = 200
"""Rows of a file that are shown for editing; the ones after them are used as they are."""
UPLOAD_BYTES = 200 << 20
CHECKED_BYTES = 200 << 20
"""A larger file is read only as far as its rows are shown; all of it is checked at the start."""
SHOWN_PROBLEMS = 10
KINDS = ("base", "upload", "file")


@dataclass
class Draft:
    """Rows being edited. `records` are those in the table, `lines` how the table shows them.

    origin      the file they were read from, None for rows that were made here
    more        how many rows follow those in the table; None: not counted
    problems    number and reason of bad lines, as far as the file was checked
    """

    name: str
    records: list[table.Record]
    origin: Path | None = None
    more: int | None = 0
    problems: list[tuple[int, Message]] = field(default_factory=list)
    bad: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list)
    round: int = 0

    def add(self, record: table.Record) -> None:
        """Add a row below the others. Touches no session: see `_make`."""
        self.lines.append(table.line(len(self.records), record))
        self.records.append(record)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows a run is to learn from. `count` is None where they were not counted."""

    file: Path
    name: str
    count: int | None
    skip_bad: bool


def section() -> bool:
    """Draw the choice and the table; True when rows were just chosen."""
    names = {
        "base": _("From a knowledge base"),
        "upload": _("Upload a file"),
        "file": _("A file on this machine"),
    }
    kind = st.radio(
        _("Where the rows come from"),
        KINDS,
        format_func=names.__getitem__,
        horizontal=True,
        key=remembered("tune_source", "base", KINDS),
    )
    with errors_shown():
        {"base": _from_base, "upload": _from_upload, "file": _from_file}[kind or "base"]()
    draft = _draft()
    if draft is None:
        return False
    with errors_shown():
        return _edit(draft)
    return False


def chosen() -> Chosen | None:
    """The rows last chosen in this session."""
    found: Chosen | None = st.session_state.get("tune_rows")
    return found


def description(rows: Chosen) -> str:
    """File and number of rows, safe as a label."""
    if rows.count is None:
        return plain(_("Rows: {file}", file=rows.file.name))
    return plain(_("Rows: {file} · {count} rows", file=rows.file.name, count=f"{rows.count:,}"))


def _draft() -> Draft | None:
    found: Draft | None = st.session_state.get("tune_draft")
    return found


def _begin(draft: Draft) -> None:
    """Show `draft` in the table. A new round gives the table a new key, so old edits are gone."""
    last = _draft()
    draft.round = last.round + 1 if last else 0
    st.session_state["tune_draft"] = draft


def _kind_name(kind: str) -> str:
    known = {"answer": _("answer"), "refusal": _("refusal")}
    return known.get(kind, kind)  # a file may call its kinds what it likes


def _from_base() -> None:
    client = backend.client()
    bases = [base.name for base in client.knowledge.bases() if base.chunks]
    if not bases:
        st.info(_("No knowledge base has documents yet. Add some on the Knowledge page."))
        return
    left, middle, right = st.columns([2, 1, 1], vertical_alignment="bottom")
    base = left.selectbox(
        _("Knowledge base"), bases, key=remembered("tune_base_name", bases[0], bases)
    )
    wanted = remembered("tune_rows_wanted", 100)
    rows = middle.number_input(_("Number of rows"), 1, 10_000, step=10, key=wanted)
    refusals = right.number_input(
        _("Refusals (%)"),
        0,
        90,
        step=5,
        key=remembered("tune_refusals", 15),
        help=_("Rows whose passages hold no answer: the model learns to say so."),
    )
    st.caption(
        _("A question is written for a sentence, and kept if search finds the sentence by it.")
    )
    if st.button(_("Make rows"), type="primary", icon=":material/auto_awesome:"):
        _make(client, base or bases[0], int(rows), int(refusals) / 100)


def _make(client: app.Client, base: str, wanted: int, refusals: float) -> None:
    """Make rows, showing each as it comes.

    Any click ends this run at its next call of Streamlit. So the draft is in the session from its
    first row on, and gets each row before the page shows anything of it.
    """
    draft = Draft(base, [])
    bar = st.progress(0.0, _("Making rows …"))
    st.button(_("Stop here"), icon=":material/stop_circle:")
    place = st.empty()
    for event in client.training_rows(base, rows=wanted, refusals=refusals):
        if event.row is not None:
            draft.add(dict(event.row))
            if len(draft.records) == 1:
                _begin(draft)
            place.caption(plain(draft.lines[-1]["question"]))
        share = max(event.tried / max(1, event.total), event.rows / wanted)
        bar.progress(min(1.0, share), _made(event.rows, wanted, event.dropped))
    st.rerun()


def _made(count: int, wanted: int, dropped: int) -> str:
    return _(
        "{count} of {wanted} rows · {dropped} questions dropped",
        count=count,
        wanted=wanted,
        dropped=dropped,
    )


def _from_upload() -> None:
    upload = st.file_uploader(
        _("Rows as .jsonl or .jsonl.xz, at most 200 MB"), type=["jsonl", "xz"], key="tune_upload"
    )
    st.caption(_("One JSON object a line: question and answer, messages, or text."))
    if upload is None or st.session_state.get("tune_upload_seen") == upload.file_id:
        return
    if upload.size > UPLOAD_BYTES:
        raise InputError(
            "{upload} is {size} MiB; the limit is {upload_bytes} MiB",
            upload=upload.name,
            size=upload.size >> 20,
            upload_bytes=UPLOAD_BYTES >> 20,
        )
    st.session_state["tune_upload_seen"] = upload.file_id
    path = _free(safe_name(upload.name))
    table.write_bytes(path, upload.getbuffer())
    try:
        _read(path)
    except InputError:
        path.unlink(missing_ok=True)
        raise


def _from_file() -> None:
    given = st.text_input(
        _("Path of a .jsonl, .jsonl.xz or .bin file"), key=remembered("tune_path", "")
    )
    if not st.button(_("Read"), disabled=not given.strip(), icon=":material/file_open:"):
        return
    path = Path(given.strip()).expanduser()
    if path.suffix == ".bin":
        _choose(Chosen(path, path.stem, None, skip_bad=False))
        st.session_state["tune_next"] = "method"
        st.rerun()
    _read(path)


def _read(path: Path) -> None:
    """Read the beginning of a file for the table and, where it is not too large, check it all."""
    if not path.name.lower().endswith(SUFFIXES):
        raise InputError(
            "{path} is no training data; give a {suffixes} or .bin file",
            path=path,
            suffixes=", ".join(SUFFIXES),
        )
    if not path.is_file():  # a device would never end
        raise InputError("{path} does not exist; check the path", path=path)
    draft = Draft(path.name.split(".")[0], [], origin=path)
    whole = path.stat().st_size <= CHECKED_BYTES
    count = 0
    from rwkv_rag.tuning import dataset

    with st.spinner(_("Reading …")):
        for line in dataset.checked(path):
            if line.problem:
                draft.bad += 1
                if len(draft.problems) < SHOWN_PROBLEMS:
                    draft.problems.append((line.number, line.problem))
                continue
            count += 1
            if count <= EDITABLE:
                draft.add(line.value)
            elif not whole:
                break
    draft.more = count - len(draft.records) if whole else None
    if not draft.records and not draft.bad:
        raise InputError("{path} is empty", path=path)
    _begin(draft)
    st.rerun()


def _edit(draft: Draft) -> bool:
    """The table and what is wrong with the rows; True when they were just chosen."""
    skip = _problems(draft)
    key = f"tune_table_{draft.round}"
    if key not in st.session_state:  # drawn for the first time since the page or step was left
        shown = [{**line, "kind": _kind_name(line["kind"])} for line in draft.lines]
        st.session_state["tune_shown"] = shown
    draft.lines = st.data_editor(
        st.session_state["tune_shown"],
        key=key,
        num_rows="dynamic",
        hide_index=True,
        width="stretch",
        height=420,
        column_order=("question", "answer", "kind", "source"),
        column_config=_columns(),
    )
    left, right = st.columns([3, 1], vertical_alignment="center")
    left.caption(_size(draft))
    blocked = bool(draft.bad and not skip) or not draft.lines
    if not right.button(
        _("Use these rows"), type="primary", disabled=blocked, width="stretch", key="tune_take"
    ):
        return False
    _choose(_saved(draft, skip))
    return True


def _columns() -> dict[str, Any]:
    column = st.column_config.TextColumn
    return {
        "question": column(_("question"), width=280),
        "answer": column(_("answer"), width=340),
        "kind": column(_("kind"), width=70, disabled=True),
        "source": column(_("source"), width=150, disabled=True),
    }


def _problems(draft: Draft) -> bool:
    """Show the bad lines; whether they are to be skipped."""
    if not draft.bad:
        return False
    text = [_("{count} lines cannot be used:", count=draft.bad)]
    text += [
        _("line {number}: {reason}", number=number, reason=_(reason))
        for number, reason in draft.problems
    ]
    if draft.bad > len(draft.problems):
        text.append("…")
    st.warning("  \n".join(plain(each) for each in text), icon=":material/warning:")
    return st.checkbox(_("Skip bad lines"), key=remembered("tune_skip", False))


def _size(draft: Draft) -> str:
    shown = _(
        "{count} rows; double-click a cell to edit, the last line to add.", count=len(draft.lines)
    )
    if draft.more is None:
        return shown + " " + _("The file goes on; its other rows are used as they are.")
    if draft.more:
        return shown + " " + _("{more} more follow and are used as they are.", more=draft.more)
    return shown


def _choose(rows: Chosen) -> None:
    st.session_state["tune_rows"] = rows


def _saved(draft: Draft, skip: bool) -> Chosen:
    """The file to learn from: the one read, when nothing was edited, or else a new one."""
    edited = table.records(draft.lines, draft.records)
    if not edited:
        raise InputError("there is no row left; keep at least one")
    if draft.origin is not None and edited == draft.records:
        count = None if draft.more is None else len(edited) + draft.more
        return Chosen(draft.origin, draft.name, count, skip_bad=skip)
    path = _free(f"{draft.name}.jsonl")
    count = table.write(path, _all(edited, draft))
    return Chosen(path, draft.name, count, skip_bad=False)


def _all(edited: Sequence[table.Record], draft: Draft) -> Iterator[table.Record]:
    """The edited rows, then those of the file that were not in the table."""
    yield from edited
    if draft.origin is None or draft.more == 0:
        return
    from rwkv_rag.tuning import dataset

    good = (line.value for line in dataset.checked(draft.origin) if not line.problem)
    for number, record in enumerate(good):
        if number >= len(draft.records):
            yield record


def _free(name: str) -> Path:
    """A path of its own under the home: rows that a run may go on from are never overwritten."""
    folder = backend.settings().home / "rows"
    stem, dot, ending = name.partition(".")
    numbered = (f"{stem}{'' if n == 1 else f'-{n}'}{dot}{ending}" for n in range(1, 10_000))
    return next(folder / each for each in numbered if not (folder / each).exists())
