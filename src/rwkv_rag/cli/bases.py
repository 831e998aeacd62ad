"""`rwkv-rag kb`: list, show, create, rebuild and delete knowledge bases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from rwkv_rag import records
from rwkv_rag.cli.options import (
    SERVICES,
    ChunkOverlap,
    ChunkSize,
    Json,
    Session,
    Yes,
    with_session,
)
from rwkv_rag.cli.screen import Screen
from rwkv_rag.cli.usage import Commands
from rwkv_rag.errors import CorruptData, Message
from rwkv_rag.i18n import N_, _
from rwkv_rag.types import DocumentInfo, KnowledgeBase

Name = Annotated[str, typer.Argument(help="Name of the knowledge base.")]

app = Commands(no_args_is_help=True)


@app.command("list")
@with_session(*SERVICES)
def list_bases(here: Session, json: Json = False) -> None:
    """List the knowledge bases."""
    with here.client() as client:
        bases = client.knowledge.bases()
    if json:
        return here.screen.json([records.base_record(base) for base in bases])
    if not bases:
        return here.screen.note(
            "no knowledge base yet; make one with `rwkv-rag index PATH --kb NAME`"
        )
    _show_bases(here.screen, bases)


@app.command("show")
@with_session(*SERVICES)
def show(here: Session, name: Name, json: Json = False) -> None:
    """Show a knowledge base and its documents."""
    with here.client() as client:
        base, documents = client.knowledge.base(name), client.knowledge.documents(name)
        problems = client.knowledge.verify(name)
    if json:
        rows = [records.document_record(info) for info in documents]
        record = {**records.base_record(base), "documents": rows}
        return here.screen.json({**record, "problems": [*map(_, problems)]})
    _show_bases(here.screen, [base])
    _show_documents(here.screen, documents)
    if problems:
        _show_problems(here.screen, problems)
        here.screen.note("mend it with `rwkv-rag kb rebuild {name}`", style="yellow", name=name)


@app.command("rebuild")
@with_session(*SERVICES)
def rebuild(here: Session, name: Name) -> None:
    """Make the indexes of a knowledge base anew from its stored documents."""
    with here.client() as client:
        client.knowledge.rebuild(name)
        problems = client.knowledge.verify(name)
    if problems:
        _show_problems(here.screen, problems)
        raise CorruptData(
            "the stored documents of {name} are damaged; delete it and index your documents again",
            name=name,
        )
    here.screen.say("rebuilt {name}", name=name)


@app.command("create")
@with_session(*SERVICES)
def create(
    here: Session,
    name: Name,
    chunk_size: ChunkSize = None,
    chunk_overlap: ChunkOverlap = None,
    json: Json = False,
) -> None:
    """Create an empty knowledge base."""
    size = here.settings.chunk_size if chunk_size is None else chunk_size
    overlap = here.settings.chunk_overlap if chunk_overlap is None else chunk_overlap
    with here.client() as client:
        base = client.knowledge.create(name, chunk_size=size, chunk_overlap=overlap)
    if json:
        return here.screen.json(records.base_record(base))
    here.screen.say("created {name}", name=base.name)


@app.command("delete")
@with_session(*SERVICES)
def delete(here: Session, name: Name, yes: Yes = False, json: Json = False) -> None:
    """Delete a knowledge base and everything in it."""
    with here.client() as client:
        documents = client.knowledge.base(name).documents
        if not yes:
            here.screen.confirm(
                "delete {name} with its {documents} documents?", name=name, documents=documents
            )
        client.knowledge.delete(name)
    if json:
        return here.screen.json({"deleted": name})
    here.screen.say("deleted {name}", name=name)


def _show_problems(screen: Screen, problems: Iterable[str | Message]) -> None:
    for problem in problems:
        screen.note("problem: {reason}", style="yellow", reason=_(problem))


def _show_bases(screen: Screen, bases: Iterable[KnowledgeBase]) -> None:
    titles = [N_("name"), N_("documents"), N_("passages"), N_("size/overlap")]
    screen.table(
        [*titles, N_("embedding model")],
        [
            (
                base.name,
                base.documents,
                base.chunks,
                f"{base.chunk_size}/{base.chunk_overlap}",
                base.embedding_model,
            )
            for base in bases
        ],
    )


def _show_documents(screen: Screen, documents: Iterable[DocumentInfo]) -> None:
    screen.table(
        [N_("document"), N_("kind"), N_("characters"), N_("pages"), N_("passages")],
        [
            (info.name, info.media_type, info.characters, info.pages or "", info.chunks)
            for info in documents
        ],
        wrapped="document",
    )
