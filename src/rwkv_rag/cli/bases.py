"""`rwkv-rag kb`: list, show, create, rebuild and delete knowledge bases."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from rwkv_rag import records
from rwkv_rag.cli.options import Connect, Home, Json, Key, session
from rwkv_rag.cli.screen import Screen, printable
from rwkv_rag.errors import CorruptData, Message
from rwkv_rag.i18n import N_
from rwkv_rag.types import DocumentInfo, KnowledgeBase

Name = Annotated[str, typer.Argument(help="Name of the knowledge base.")]

app = typer.Typer(no_args_is_help=True)
BASE_COLUMNS = (
    *(N_("name"), N_("documents"), N_("passages"), N_("size/overlap")),
    N_("embedding model"),
)


@app.command("list")
def list_bases(
    ctx: typer.Context,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """List the knowledge bases."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        bases = parts.knowledge.bases()
    if json:
        return here.screen.json([records.base_record(base) for base in bases])
    if not bases:
        return here.screen.note(
            "no knowledge base yet; make one with `rwkv-rag index PATH --kb NAME`"
        )
    here.screen.out.print(_bases_table(here.screen, bases))


@app.command("show")
def show(
    ctx: typer.Context,
    name: Name,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Show a knowledge base and its documents."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        base, documents = parts.knowledge.base(name), parts.knowledge.documents(name)
        problems = parts.knowledge.verify(name)
    if json:
        rows = [records.document_record(info) for info in documents]
        record = {**records.base_record(base), "documents": rows, "problems": [*map(str, problems)]}
        return here.screen.json(record)
    here.screen.out.print(_bases_table(here.screen, [base]))
    here.screen.out.print(_documents_table(here.screen, documents))
    if problems:
        _report(here.screen, problems)
        here.screen.note("mend it with `rwkv-rag kb rebuild {name}`", style="yellow", name=name)


@app.command("rebuild")
def rebuild(
    ctx: typer.Context, name: Name, home: Home = None, connect: Connect = None, key: Key = None
) -> None:
    """Make the indexes of a knowledge base anew from its stored documents."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        parts.knowledge.rebuild(name)
        problems = parts.knowledge.verify(name)
    if problems:
        _report(here.screen, problems)
        raise CorruptData(
            "the stored documents of {name} are damaged; delete it and index your documents again",
            name=name,
        )
    here.screen.say("rebuilt {name}", name=name)


@app.command("create")
def create(
    ctx: typer.Context,
    name: Name,
    chunk_size: Annotated[
        int | None, typer.Option(help="Characters per passage (a new base: 400).")
    ] = None,
    chunk_overlap: Annotated[
        int | None,
        typer.Option(help="Characters two neighbouring passages share (a new base: 60)."),
    ] = None,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Create an empty knowledge base."""
    here = session(ctx, home, connect=connect, key=key)
    size = here.settings.chunk_size if chunk_size is None else chunk_size
    overlap = here.settings.chunk_overlap if chunk_overlap is None else chunk_overlap
    with here.parts() as parts:
        base = parts.knowledge.create(name, chunk_size=size, chunk_overlap=overlap)
    if json:
        return here.screen.json(records.base_record(base))
    here.screen.say("created {name}", name=base.name)


@app.command("delete")
def delete(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Delete a knowledge base and everything in it."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        documents = parts.knowledge.base(name).documents
        if not yes and not _confirmed(here.screen, name, documents):
            here.screen.note("nothing deleted")
            raise typer.Exit(1)
        parts.knowledge.delete(name)
    if json:
        return here.screen.json({"deleted": name})
    here.screen.say("deleted {name}", name=name)


def _confirmed(screen: Screen, name: str, documents: int) -> bool:
    question = N_("delete {name} with its {documents} documents?")
    return typer.confirm(screen.translate(question, name=name, documents=documents), err=True)


def _report(screen: Screen, problems: list[Message]) -> None:
    for problem in problems:
        screen.note("problem: {reason}", style="yellow", reason=problem)


def _bases_table(screen: Screen, bases: list[KnowledgeBase]) -> Table:
    table = Table(box=None, header_style="dim")
    for title in (
        N_("name"),
        N_("documents"),
        N_("passages"),
        N_("size/overlap"),
        N_("embedding model"),
    ):
        table.add_column(screen.translate(title), no_wrap=True)
    for base in bases:
        sizes = f"{base.chunk_size}/{base.chunk_overlap}"
        cells = (base.name, str(base.documents), str(base.chunks), sizes, base.embedding_model)
        table.add_row(*map(printable, cells))
    return table


def _documents_table(screen: Screen, documents: list[DocumentInfo]) -> Table:
    table = Table(box=None, header_style="dim")
    for title in (N_("document"), N_("kind"), N_("characters"), N_("pages"), N_("passages")):
        table.add_column(screen.translate(title), overflow="fold")
    for info in documents:
        pages = str(info.pages or "")
        cells = (info.name, info.media_type, str(info.characters), pages, str(info.chunks))
        table.add_row(*map(printable, cells))
    return table
