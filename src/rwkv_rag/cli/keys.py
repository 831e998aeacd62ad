"""`rwkv-rag keys`: who may reach the services from another machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from rwkv_rag.cli.options import Home, Json, Session, session
from rwkv_rag.cli.screen import printable
from rwkv_rag.i18n import N_

if TYPE_CHECKING:
    from rwkv_rag.bus.keys import KeyStore

Name = Annotated[str, typer.Argument(help="What the other machine is called.")]

app = typer.Typer(invoke_without_command=True)


@app.callback()
def keys(ctx: typer.Context, json: Json = False, home: Home = None) -> None:
    """Keys of the services and of the machines that may reach them."""
    if ctx.invoked_subcommand is None:
        show(ctx, json, home)


@app.command("show")
def show(ctx: typer.Context, json: Json = False, home: Home = None) -> None:
    """Show the public key of the services, made now if there is none, and who is let in."""
    here = session(ctx, home)
    ring = _keyring(here)
    server, peers = ring.make(), ring.peers()
    if json:
        return here.screen.json(_record(server.public, peers))
    here.screen.say("public key of the services: {key}", key=server.public.decode())
    if not peers:
        return here.screen.note("nobody else is let in; `rwkv-rag keys add NAME` makes a key")
    table = Table(box=None, header_style="dim")
    for title in (N_("name"), N_("public key")):
        table.add_column(here.screen.translate(title), no_wrap=True)
    for name, key in peers.items():
        table.add_row(printable(name), key.decode())
    here.screen.out.print(table)


@app.command("add")
def add(
    ctx: typer.Context,
    name: Name,
    out: Annotated[
        Path | None, typer.Option(help="File to write the key to (default: NAME.key).")
    ] = None,
    json: Json = False,
    home: Home = None,
) -> None:
    """Make a key for another machine; the file is all that it needs."""
    here = session(ctx, home)
    ring = _keyring(here)
    file = (out or Path(f"{name}.key")).expanduser()
    key = ring.add(name, file)
    if json:
        return here.screen.json(
            {"name": name, "public_key": key.public.decode(), "file": str(file)}
        )
    here.screen.say("wrote {file}", file=str(file))
    here.screen.note(
        "move it to the other machine over a safe way (scp): who has it can use the services"
    )


@app.command("remove")
def remove(ctx: typer.Context, name: Name, json: Json = False, home: Home = None) -> None:
    """Let the owner of a key in no longer."""
    here = session(ctx, home)
    ring = _keyring(here)
    ring.remove(name)
    if json:
        return here.screen.json({"removed": name})
    here.screen.say("{name} is let in no longer", name=name)


def _keyring(here: Session) -> KeyStore:
    from rwkv_rag.bus.keys import KeyStore

    return KeyStore(here.settings.home)


def _record(server: bytes, peers: dict[str, bytes]) -> dict[str, Any]:
    named = [{"name": name, "public_key": key.decode()} for name, key in peers.items()]
    return {"public_key": server.decode(), "allowed": named}
