"""Answers and their sources as HTML. Documents are untrusted: every character of theirs is escaped.

Knows no Streamlit. Markdown is never used for text from documents: a picture link in it would make
the browser fetch a foreign address.
"""

from __future__ import annotations

import html
import re

from rwkv_rag.types import Answer, Citation, Hit

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~:$&])")

_BLANK_LINES = re.compile(r"\n\s*\n")

STYLE = """
<style>
.rag-answer {font-size: 1.06rem; line-height: 1.75; white-space: pre-wrap; overflow-wrap: anywhere;}
.rag-refused {color: #7a5b13; background: #fff7e0; border-left: 3px solid #e0b13c;
  padding: .55rem .9rem; border-radius: 4px;}
.rag-passage {white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.7; font-size: .94rem;
  color: #4a5a58; border-left: 3px solid #cfdbd8; padding: .1rem 0 .1rem .9rem; margin: 0 0 .3rem 0;
  max-height: 22rem; overflow-y: auto;}
.rag-passage mark {background: #ffe48a; color: #1c2b2a; padding: .08em .12em; border-radius: 3px;}
.rag-place {font-size: .84rem; color: #6b7a78; margin-bottom: .4rem;}
.rag-place b {color: #0f766e; font-weight: 600;}
.rag-note {font-size: .84rem; color: #6b7a78;}
.rag-title {font-size: 1.9rem; font-weight: 700; letter-spacing: -.01em; line-height: 1.3;}
.rag-section {font-size: 1.15rem; font-weight: 650; margin-top: .6rem;}
.rag-claim {color: #6b7a78; margin-top: .15rem;}
</style>
"""


def text_html(text: str) -> str:
    """A question, or what has come of an answer so far."""
    return f'<div class="rag-answer">{html.escape(text)}</div>'


def answer_html(answer: Answer) -> str:
    """The answer as plain text in a box; a part of a quoted sentence stands bold inside it."""
    kind = "rag-answer rag-refused" if answer.refused else "rag-answer"
    return f'<div class="{kind}">{_in_sentence(answer)}</div>'


def _in_sentence(answer: Answer) -> str:
    quote = answer.citations[0].quote if len(answer.citations) == 1 else ""
    if not answer.text or answer.text not in quote:
        return html.escape(answer.text)
    before, text, after = quote.partition(answer.text)
    around = html.escape(before.lstrip()), html.escape(text), html.escape(after.rstrip())
    return f"{around[0]}<b>{around[1]}</b>{around[2]}" if any((before, after)) else around[1]


def passage_html(citation: Citation, hit: Hit | None) -> str:
    """The passage around a citation with the quote marked; without a passage the quote alone."""
    if hit is None or not hit.chunk.start <= citation.start <= citation.end <= hit.chunk.end:
        return f'<div class="rag-passage"><mark>{html.escape(citation.quote)}</mark></div>'
    text, base = hit.chunk.text, hit.chunk.start
    before, after = text[: citation.start - base], text[citation.end - base :]
    marked = f"<mark>{html.escape(citation.quote)}</mark>"
    return f'<div class="rag-passage">{_passage(before)}{marked}{_passage(after)}</div>'


def hit_html(hit: Hit) -> str:
    """A passage without marks."""
    return f'<div class="rag-passage">{_passage(hit.chunk.text)}</div>'


def place_html(document: str, page: str, start: int, end: int, heading: str = "") -> str:
    """Where a passage stands: document, page, characters and headings."""
    name = f"<b>{html.escape(document)}</b>" if document else ""
    parts = [name, html.escape(page), f"{start}–{end}", html.escape(heading)]
    return f'<div class="rag-place">{" · ".join(part for part in parts if part)}</div>'


def note_html(*parts: str) -> str:
    """Small print under an answer."""
    return f'<div class="rag-note">{" · ".join(html.escape(part) for part in parts if part)}</div>'


def hit_of(answer: Answer, citation: Citation) -> Hit | None:
    """The hit a citation was taken from."""
    return next((hit for hit in answer.hits if hit.chunk.id == citation.chunk), None)


def title_html(title: str, claim: str) -> str:
    """The head of a page."""
    return (
        f'<div class="rag-title">{html.escape(title)}</div>'
        f'<div class="rag-claim">{html.escape(claim)}</div>'
    )


def section_html(title: str) -> str:
    """The head of a part of a page."""
    return f'<div class="rag-section">{html.escape(title)}</div>'


def _passage(text: str) -> str:
    """Escaped, and without blank lines: they only push the quote out of sight."""
    return html.escape(_BLANK_LINES.sub("\n", text))


def plain(text: str) -> str:
    """`text` safe for Markdown labels: shown as it is, never as a link, picture or colour."""
    return _MARKDOWN.sub(r"\\\1", text.replace("\n", " "))
