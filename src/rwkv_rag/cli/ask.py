"""`rwkv-rag ask` and `rwkv-rag search`. Knows not how passages are found or answers are made."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from rwkv_rag import records
from rwkv_rag.cli.answers import finished, show_hit, show_proof, stream
from rwkv_rag.cli.options import (
    DEFAULT_KB,
    Connect,
    Home,
    Json,
    Kb,
    Key,
    Model,
    TopK,
    Tuned,
    session,
)

Strict = Annotated[
    bool,
    typer.Option(
        "--strict/--free", help="Quote the sources word for word, or let the model write."
    ),
]


def ask(
    ctx: typer.Context,
    question: Annotated[str, typer.Argument(help="The question, in Chinese or English.")],
    kb: Kb = DEFAULT_KB,
    strict: Strict = True,
    top_k: TopK = None,
    model: Model = None,
    tuned: Tuned = None,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Ask a question; the answer comes with the places in your documents that prove it."""
    here = session(ctx, home, model, tuned, connect=connect, key=key)
    with here.parts(writes=True) as parts:
        pipeline = parts.pipeline()
        mode: Literal["strict", "free"] = "strict" if strict else "free"
        passages = top_k or here.settings.top_k
        events = pipeline.answer(question, kb=kb, mode=mode, top_k=passages)
        if json:
            *_, answer = events
            return here.screen.json(records.answer_record(finished(answer)))
        answer = stream(here.screen, events)
        show_proof(here.screen, answer)
        if tuned and "read" in answer.timings:
            here.screen.note("quoted by the reader; with --free {name} writes", name=tuned)


def search(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    kb: Kb = DEFAULT_KB,
    top_k: TopK = None,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Search a knowledge base; prints the best passages."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        hits = parts.knowledge.search(kb, query, top_k=top_k or here.settings.top_k)
    if json:
        return here.screen.json([records.hit_record(hit) for hit in hits])
    if not hits:
        here.screen.note("nothing found")
    for number, hit in enumerate(hits, start=1):
        show_hit(here.screen, number, hit)
