"""`rwkv-rag ask` and `rwkv-rag search`, and how answers and passages look in the terminal.

Knows not how passages are found or answers are made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.text import Text

from rwkv_rag import records
from rwkv_rag.cli.options import DEFAULT_KB, SERVICES, Json, Kb, Session, TopK, with_session
from rwkv_rag.cli.screen import Screen, printable, printable_lines
from rwkv_rag.types import Answer, Citation, Delta, Hit

QUOTE_STYLE = "bold black on yellow"
CONTEXT = 40
"""Characters of the passage shown on either side of a quote."""

Strict = Annotated[
    bool,
    typer.Option(
        "--strict/--free", help="Quote the sources word for word, or let the model write."
    ),
]


@with_session("model", "tuned", *SERVICES)
def ask(
    here: Session,
    question: Annotated[str, typer.Argument(help="The question, in Chinese or English.")],
    kb: Kb = DEFAULT_KB,
    strict: Strict = True,
    top_k: TopK = None,
    json: Json = False,
) -> None:
    """Ask a question; the answer comes with the places in your documents that prove it."""
    with here.client(writes=True) as client:
        events = client.pipeline().answer(
            question,
            kb=kb,
            mode="strict" if strict else "free",
            top_k=top_k or here.settings.top_k,
        )
        if json:
            *_, answer = events
            return here.screen.json(records.answer_record(_finished(answer)))
        answer = stream(here.screen, events)
    show_sources(here.screen, answer)
    if answer.note:
        here.screen.out.print(answer.note, style="dim")
    here.screen.note("{seconds:.2f} s", seconds=answer.timings.get("total", 0.0))
    if here.given["tuned"] and "read" in answer.timings:
        here.screen.note(
            "quoted by the reader; with --free {name} writes", name=here.given["tuned"]
        )


@with_session(*SERVICES)
def search(
    here: Session,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    kb: Kb = DEFAULT_KB,
    top_k: TopK = None,
    json: Json = False,
) -> None:
    """Search a knowledge base; prints the best passages."""
    with here.client() as client:
        hits = client.knowledge.search(kb, query, top_k=top_k or here.settings.top_k)
    if json:
        return here.screen.json([records.hit_record(hit) for hit in hits])
    if not hits:
        here.screen.note("nothing found")
    for number, hit in enumerate(hits, start=1):
        show_hit(here.screen, number, hit)


def stream(screen: Screen, events: Iterable[Delta | Answer]) -> Answer:
    """Print the answer as it comes; returns the finished one."""
    event: Delta | Answer | None = None
    for event in events:
        if isinstance(event, Delta):
            screen.out.print(printable_lines(event.text), end="")
            screen.out.file.flush()
    screen.out.print()
    return _finished(event)


def _finished(event: Delta | Answer | None) -> Answer:
    """The last event of an answer, which is the Answer."""
    assert isinstance(event, Answer)
    return event


def show_sources(screen: Screen, answer: Answer) -> None:
    """The cited places, each with its quote highlighted in the text around it."""
    hits = {hit.chunk.id: hit for hit in answer.hits}
    for number, citation in enumerate(answer.citations, start=1):
        hit = hits.get(citation.chunk)
        line = Text(f"  [{number}] ", "cyan").append(printable(place(citation)), "bold cyan")
        if hit and hit.chunk.heading:
            line.append("  " + printable(hit.chunk.heading), "dim")
        screen.out.print(line)
        screen.out.print(Text("      ").append_text(quoted(citation, hit)))


def show_hit(screen: Screen, number: int, hit: Hit) -> None:
    """A search result: its place, score and beginning."""
    chunk = hit.chunk
    page = "" if chunk.page is None else f":{chunk.page}"
    line = Text(f"[{number}] ", "cyan")
    line.append(printable(f"{chunk.document}{page}:{chunk.start}-{chunk.end}"), "bold cyan")
    screen.out.print(line.append(f"  {hit.score:.3f}  {printable(chunk.heading)}", "dim"))
    screen.out.print("    " + printable(chunk.text[:160]) + ("…" if len(chunk.text) > 160 else ""))


def place(citation: Citation) -> str:
    """`document:page:start-end`; without the page where the document has none."""
    page = "" if citation.page is None else f":{citation.page}"
    return f"{citation.document}{page}:{citation.start}-{citation.end}"


def quoted(citation: Citation, hit: Hit | None) -> Text:
    """The quote on one line, highlighted between the characters of its chunk around it."""
    before, after = "", ""
    if hit is not None:
        start, end = citation.start - hit.chunk.start, citation.end - hit.chunk.start
        text = hit.chunk.text
        before = ("…" if start > CONTEXT else "") + text[max(0, start - CONTEXT) : max(0, start)]
        after = text[end : end + CONTEXT] + ("…" if end + CONTEXT < len(text) else "")
    line = Text(printable(before), "dim").append(printable(citation.quote), QUOTE_STYLE)
    return line.append(printable(after), "dim")
