"""`rwkv-rag demo`: index a few documents of the package and ask them, in a home of its own.

Knows the documents and the questions, not how they are answered.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter

import typer
from rich.rule import Rule

from rwkv_rag import config
from rwkv_rag.cli.ask import show_sources, stream
from rwkv_rag.cli.index import follow
from rwkv_rag.cli.options import Session, with_session
from rwkv_rag.cli.screen import Screen
from rwkv_rag.i18n import _
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.rag.rewrite import remembered
from rwkv_rag.types import Answer, Turn

DOCUMENTS = Path(__file__).parent.parent / "demo" / "documents"
KB = "demo"

QUESTIONS = (
    "云雀L3的滤芯使用寿命是多久？",
    "它可以水洗吗？",
    "处理不满十四周岁未成年人的个人信息，应当取得谁的同意？",
    "王冕替谁家放牛？",
    "What is the annual fee for a plot?",
    "When do the gates close from April to September?",
    "谁获得了 2022 年足球世界杯冠军？",
)
FOLLOW_UPS = frozenset({"它可以水洗吗？"})


@with_session("model")
def demo(here: Session) -> None:
    """See it work: a few documents, questions in two languages, every quote checked."""
    from rwkv_rag import app

    settings = Session(**here.given, connect="").settings
    if here.given["home"] is not None:
        return _show(here.screen, settings)
    with tempfile.TemporaryDirectory(prefix="rwkv-rag-demo-", ignore_cleanup_errors=True) as folder:
        _show(here.screen, app.elsewhere(settings, Path(folder)))


def _show(screen: Screen, settings: config.Settings) -> None:
    from rwkv_rag import app

    started = perf_counter()
    with app.open_client(settings) as client:
        library = client.knowledge
        if KB not in {base.name for base in library.bases()}:
            library.create(KB)  # loads the model that makes vectors
        pipeline = client.pipeline()
        screen.say("model loaded in {seconds:.1f} s", style="dim", seconds=perf_counter() - started)
        _index(screen, library)
        counts, history = Counter[str](), list[Turn]()
        for question in QUESTIONS:
            asked_about = history if question in FOLLOW_UPS else []
            screen.out.print(Rule(style="dim"))
            screen.out.print(f"{'  ↳ ' if asked_about else ''}{question}", style="bold green")
            answer = stream(screen, pipeline.answer(question, kb=KB, history=asked_about))
            _proof(screen, question, answer)
            counts += _counts(library, answer)
            history = [remembered(question, answer)]
    _verdict(screen, counts, perf_counter() - started)


def _index(screen: Screen, library: Knowledge) -> None:
    started = perf_counter()
    follow(screen, library.index(KB, [DOCUMENTS]))
    base, seconds = library.base(KB), perf_counter() - started
    for info in library.documents(KB):
        pages = _(", {pages} pages", pages=info.pages) if info.pages else ""
        screen.say(
            "  {name}: {characters} characters{pages}, {chunks} passages",
            name=info.name,
            characters=info.characters,
            pages=pages,
            chunks=info.chunks,
        )
    screen.say(
        "{documents} documents, {chunks} passages in {seconds:.1f} s ({speed:.0f} passages/s)",
        style="dim",
        documents=base.documents,
        chunks=base.chunks,
        seconds=seconds,
        speed=base.chunks / seconds,
    )


def _proof(screen: Screen, question: str, answer: Answer) -> None:
    """Sources, then the small print: how it was understood and made, and the time of every step."""
    show_sources(screen, answer)
    if answer.query != question:
        screen.say("  understood as: {query}", style="dim", query=answer.query)
    if answer.note:
        screen.out.print(f"  {answer.note}", style="dim")
    steps = " · ".join(f"{name} {seconds:.2f} s" for name, seconds in answer.timings.items())
    screen.out.print(f"  {steps}", style="dim")


def _counts(library: Knowledge, answer: Answer) -> Counter[str]:
    """What an answer adds to the result; a wrong citation does not stand in the stored document."""
    texts = {each.document: library.document(KB, each.document).text for each in answer.citations}
    wrong = [
        each
        for each in answer.citations
        if texts[each.document][each.start : each.end] != each.quote
    ]
    return Counter(
        refused=int(answer.refused),
        answered=int(not answer.refused),
        cited=len(answer.citations),
        wrong=len(wrong),
        unproven=int(not answer.refused and not answer.citations),
    )


def _verdict(screen: Screen, counts: Counter[str], seconds: float) -> None:
    screen.out.print(Rule(style="dim"))
    screen.say(
        "{answered} answered, {refused} refused; {good} of {cited} citations check out; "
        "{seconds:.1f} s in all",
        style="bold",
        answered=counts["answered"],
        refused=counts["refused"],
        good=counts["cited"] - counts["wrong"],
        cited=counts["cited"],
        seconds=seconds,
    )
    screen.say('next: rwkv-rag index YOUR-FILES, then rwkv-rag ask "…" or rwkv-rag ui', style="dim")
    if counts["wrong"] or counts["unproven"] or not counts["cited"]:
        raise typer.Exit(1)
