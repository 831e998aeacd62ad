"""How answers, sources and hits look in the terminal. Knows no command."""

from __future__ import annotations

from collections.abc import Iterable

from rich.text import Text

from rwkv_rag.cli.screen import Screen, printable, printable_lines
from rwkv_rag.types import Answer, Citation, Delta, Hit

QUOTE_STYLE = "bold black on yellow"
CONTEXT = 40
"""Characters of the passage shown on either side of a quote."""


def stream(screen: Screen, events: Iterable[Delta | Answer]) -> Answer:
    """Print the answer as it comes; returns the finished one."""
    answer: Delta | Answer | None = None
    for event in events:
        if isinstance(event, Delta):
            screen.out.print(printable_lines(event.text), end="")
            screen.out.file.flush()
        else:
            answer = event
    screen.out.print()
    return finished(answer)


def finished(event: Delta | Answer | None) -> Answer:
    """The last event of an answer, which is the Answer."""
    assert isinstance(event, Answer)
    return event


def show_proof(screen: Screen, answer: Answer) -> None:
    """The sources, the note and the time under an answer."""
    show_sources(screen, answer)
    if answer.note:
        screen.out.print(answer.note, style="dim")
    screen.note("{seconds:.2f} s", seconds=answer.timings.get("total", 0.0))


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
