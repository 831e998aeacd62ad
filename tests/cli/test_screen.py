"""Quotes are highlighted where they stand, and documents cannot steer the terminal."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rwkv_rag.cli.ask import QUOTE_STYLE, place, quoted, show_sources, stream
from rwkv_rag.cli.screen import Screen, printable
from rwkv_rag.i18n import in_language
from rwkv_rag.types import Answer, Chunk, Citation, Delta, Hit


def hit(text: str, start: int) -> Hit:
    return Hit(Chunk("c", "d.txt", 0, start, start + len(text), text), 1.0)


@given(text=st.text(min_size=1, max_size=300), data=st.data(), base=st.integers(0, 1000))
def test_exactly_the_quote_is_highlighted(text: str, data: st.DataObject, base: int) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    citation = Citation("d.txt", None, base + start, base + end, text[start:end], "c")
    line = quoted(citation, hit(text, base))
    marked = "".join(
        line.plain[span.start : span.end] for span in line.spans if span.style == QUOTE_STYLE
    )
    assert marked == printable(text[start:end])


@given(st.text())
def test_nothing_a_document_says_moves_the_cursor(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()


@given(st.lists(st.text(max_size=20), max_size=5))
def test_the_lines_of_a_written_answer_survive_its_control_characters(pieces: list[str]) -> None:
    screen = Screen()
    screen.out = Console(file=io.StringIO(), markup=False, highlight=False, soft_wrap=True)
    text = "".join(pieces)
    stream(screen, [*map(Delta, pieces), Answer(text, False)])
    shown = screen.out.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count("\n") == text.count("\n") + 1
    assert shown.replace("\n", "").isprintable()


def test_what_is_said_holds_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with in_language("en"):
        Screen().say("created {name}", name="a\x1b[31m\nb")
    assert capsys.readouterr().out == "created a[31m b\n"


def test_a_document_cannot_speak_rich_markup() -> None:
    screen = Screen()
    screen.out = Console(file=io.StringIO(), markup=False, highlight=False, soft_wrap=True)
    quote = "[red]not red[/red] \x1b[31mnor this"
    citation = Citation("[bold]d.txt", 2, 0, len(quote), quote, "c")
    show_sources(screen, Answer(quote, False, (citation,), (hit(quote, 0),)))
    shown = screen.out.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]not red[/red]" in shown and "[bold]d.txt:2:0-" in shown and "\x1b" not in shown


def test_the_page_is_left_out_where_there_is_none() -> None:
    assert place(Citation("a.pdf", 3, 5, 9, "abcd")) == "a.pdf:3:5-9"
    assert place(Citation("a.txt", None, 5, 9, "abcd")) == "a.txt:5-9"
