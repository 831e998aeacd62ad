"""`rwkv-rag keys`: who may reach the services from another machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwkv_rag.cli.options import Json, Session, with_session
from rwkv_rag.cli.usage import Commands
from rwkv_rag.i18n import N_

if TYPE_CHECKING:
    from rwkv_rag.bus.keys import KeyStore

Name = Annotated[str, typer.Argument(help="What the other machine is called.")]

app = Commands(invoke_without_command=True)


@app.callback()
@with_session()
def keys(here: Session, ctx: typer.Context, json: Json = False) -> None:
    """Keys of the services and of the machines that may reach them."""
    if ctx.invoked_subcommand is None:
        _show(here, json)


@app.command("show")
@with_session()
def show(here: Session, json: Json = False) -> None:
    """Show the public key of the services, made now if there is none, and who is let in."""
    _show(here, json)


def _show(here: Session, json: bool) -> None:
    store = _store(here)
    server, peers = store.make(), store.peers()
    if json:
        return here.screen.json(_record(server.public, peers))
    here.screen.say("public key of the services: {key}", key=server.public.decode())
    if not peers:
        return here.screen.note("nobody else is let in; `rwkv-rag keys add NAME` makes a key")
    rows = [(name, key.decode()) for name, key in peers.items()]
    here.screen.table([N_("name"), N_("public key")], rows)


@app.command("add")
@with_session()
def add(
    here: Session,
    name: Name,
    out: Annotated[
        Path | None, typer.Option(help="File to write the key to (default: NAME.key).")
    ] = None,
    json: Json = False,
) -> None:
    """Make a key for another machine; the file is all that it needs."""
    file = (out or Path(f"{name}.key")).expanduser()
    key = _store(here).add(name, file)
    if json:
        return here.screen.json(
            {"name": name, "public_key": key.public.decode(), "file": str(file)}
        )
    here.screen.say("wrote {file}", file=file)
    here.screen.note(
        "move it to the other machine over a safe way (scp): who has it can use the services"
    )


@app.command("remove")
@with_session()
def remove(here: Session, name: Name, json: Json = False) -> None:
    """Let the owner of a key in no longer."""
    _store(here).remove(name)
    if json:
        return here.screen.json({"removed": name})
    here.screen.say("{name} is let in no longer", name=name)


def _store(here: Session) -> KeyStore:
    from rwkv_rag.bus.keys import KeyStore

    return KeyStore(here.settings.home)


def _record(server: bytes, peers: dict[str, bytes]) -> dict[str, Any]:
    named = [{"name": name, "public_key": key.decode()} for name, key in peers.items()]
    return {"public_key": server.decode(), "allowed": named}
