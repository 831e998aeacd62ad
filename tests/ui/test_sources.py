"""Whatever a document holds, the page shows its characters and runs none of them."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.types import Answer, Chunk, Citation, Hit
from rwkv_rag.ui import sources

TAG = re.compile(r"<[^>]*>")


def hit(text: str, start: int = 0) -> Hit:
    return Hit(Chunk("c", "d", 0, start, start + len(text), text), 1.0)


@given(text=st.text(min_size=1), data=st.data(), base=st.integers(0, 99))
def test_the_mark_holds_exactly_the_quote(text: str, data: st.DataObject, base: int) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    citation = Citation("d", None, base + start, base + end, text[start:end], "c")
    shown = sources.passage_html(citation, hit(text, base))
    inside = shown.split("<mark>", 1)[1].split("</mark>", 1)[0]
    assert inside == html.escape(text[start:end])


@given(st.text())
def test_only_our_own_tags_come_through(text: str) -> None:
    made = "".join(
        (
            sources.text_html(text),
            sources.answer_html(Answer(text, refused=True)),
            sources.answer_html(Answer(text, False, (Citation("d", None, 0, 9, f"x{text}y"),))),
            sources.hit_html(hit(text)),
            sources.place_html(text, text, 0, 1, text),
            sources.note_html(text),
            sources.title_html(text, text),
        )
    )
    allowed = re.compile(r"</?(div|b|mark)( class=\"[a-z -]+\")?>")
    assert all(allowed.fullmatch(tag) for tag in TAG.findall(made))


def test_a_citation_outside_its_passage_is_shown_alone() -> None:
    citation = Citation("d", None, 50, 55, "quote", "c")
    assert sources.passage_html(citation, hit("short")).count("quote") == 1
    assert "<mark>quote</mark>" in sources.passage_html(citation, None)


@given(st.text(alphabet="[](){}<>!*_`:#&$|~\\ab\n"))
def test_labels_are_not_markdown(text: str) -> None:
    plain = sources.plain(text)
    assert "\n" not in plain
    assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]()*_`:<>!#&$|~{}]", plain)


def test_an_answer_stands_bold_in_its_sentence() -> None:
    cited = (Citation("d", None, 0, 22, "The fee is <48 pounds>."),)
    made = sources.answer_html(Answer("<48 pounds>", False, cited))
    assert "The fee is <b>&lt;48 pounds&gt;</b>." in made
    assert "<b>" not in sources.answer_html(Answer("The fee is <48 pounds>.", False, cited))
    assert "elsewhere" in sources.answer_html(Answer("elsewhere", False, cited))
