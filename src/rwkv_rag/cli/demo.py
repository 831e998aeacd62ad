"""`rwkv-rag demo`: the whole way on a few documents that ship with the package, in its own home.

Knows the documents and the questions, and nothing of how they are answered.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Tally:
    """What the demonstration showed. `wrong` citations do not stand in their document."""

    answered: int = 0
    refused: int = 0
    cited: int = 0
    wrong: int = 0
    unproven: int = 0

    def add(self, answer: Answer, wrong: int) -> Tally:
        """With one more answer."""
        return Tally(
            self.answered + (not answer.refused),
            self.refused + answer.refused,
            self.cited + len(answer.citations),
            self.wrong + wrong,
            self.unproven + (not answer.refused and not answer.citations),
        )


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
        tally, history = Tally(), list[Turn]()
        for question in QUESTIONS:
            asked_about = history if question in FOLLOW_UPS else []
            screen.out.print(Rule(style="dim"))
            screen.out.print(f"{'  ↳ ' if asked_about else ''}{question}", style="bold green")
            answer = stream(screen, pipeline.answer(question, kb=KB, history=asked_about))
            _proof(screen, question, answer)
            tally = tally.add(answer, _count_wrong(library, answer))
            history = [remembered(question, answer)]
    _verdict(screen, tally, perf_counter() - started)


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


def _count_wrong(library: Knowledge, answer: Answer) -> int:
    """Citations whose quote does not stand in the stored document where they say."""
    wrong = 0
    for citation in answer.citations:
        text = library.document(KB, citation.document).text
        wrong += text[citation.start : citation.end] != citation.quote
    return wrong


def _verdict(screen: Screen, tally: Tally, seconds: float) -> None:
    screen.out.print(Rule(style="dim"))
    screen.say(
        "{answered} answered, {refused} refused; {good} of {cited} citations check out; "
        "{seconds:.1f} s in all",
        style="bold",
        answered=tally.answered,
        refused=tally.refused,
        good=tally.cited - tally.wrong,
        cited=tally.cited,
        seconds=seconds,
    )
    screen.say('next: rwkv-rag index YOUR-FILES, then rwkv-rag ask "…" or rwkv-rag ui', style="dim")
    if tally.wrong or tally.unproven or not tally.cited:
        raise typer.Exit(1)
