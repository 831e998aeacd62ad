"""`rwkv-rag tune shelf`, `import`, `export`, `merge`, `remove`: what has been tuned.

Knows no file format; the commands become a group in `cli.tune`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rwkv_rag.cli.options import Home, Json, session
from rwkv_rag.cli.screen import Screen, printable
from rwkv_rag.i18n import N_

if TYPE_CHECKING:
    from rwkv_rag.rwkv.tuned import Tuned

Name = Annotated[str, typer.Argument(help="Name of what was tuned.")]
Base = Annotated[
    str | None, typer.Option("--model", help="Model it belongs to (default: the builtin one).")
]

COLUMNS = (N_("name"), N_("kind"), N_("method"), N_("base"), N_("steps"), N_("loss"))


def shelf(ctx: typer.Context, json: Json = False, home: Home = None) -> None:
    """List what has been tuned and imported."""
    here = session(ctx, home)
    from rwkv_rag import models

    things = models.shelf(here.settings).all()
    if json:
        return here.screen.json([asdict(tuned) for tuned in things])
    if not things:
        return here.screen.note("nothing tuned yet; begin with `rwkv-rag tune start`")
    here.screen.out.print(_table(here.screen, things))


def import_file(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="A time_state, LoRA, PiSSA or DiSHA file, or a folder of peft.")
    ],
    name: Annotated[str, typer.Option("--name", help="What to call it.")],
    model: Base = None,
    alpha: Annotated[
        float | None, typer.Option(help="Alpha a LoRA was trained with, where its file lacks it.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", help="First pairs of a PiSSA (init_pissa.pth).")
    ] = None,
    json: Json = False,
    home: Home = None,
) -> None:
    """Take in a state or adapter that another program trained."""
    here = session(ctx, home, model)
    from rwkv_rag import models
    from rwkv_rag.tuning import exports

    shelf, base = models.shelf(here.settings), models.base_files(here.settings.model)
    what, tuned = exports.import_file(shelf, base, file, name, alpha=alpha, first=init)
    if json:
        return here.screen.json({"found": what, **asdict(tuned)})
    here.screen.say(
        "imported {name} for {base}: {what}",
        name=name,
        base=tuned.base_name,
        what=here.screen.translate(what),
    )


def export(
    ctx: typer.Context,
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(help="FILE.safetensors, FILE.pth, or for an adapter a new folder (peft)."),
    ],
    json: Json = False,
    home: Home = None,
) -> None:
    """Write a state or adapter for other programs."""
    here = session(ctx, home)
    from rwkv_rag import models
    from rwkv_rag.tuning import exports

    written = exports.export(models.shelf(here.settings), name, file)
    if json:
        return here.screen.json({"written": str(file), **asdict(written)})
    here.screen.say(
        "wrote {file}: {what}", file=str(file), what=here.screen.translate(written.what)
    )
    if written.alpha is not None:
        here.screen.note("merge it with an alpha of {alpha}", alpha=written.alpha)


def merge(
    ctx: typer.Context,
    name: Name,
    file: Annotated[Path, typer.Argument(help="The new model, FILE.safetensors.")],
    model: Base = None,
    json: Json = False,
    home: Home = None,
) -> None:
    """Write a whole model: the base with a state or adapter in it."""
    here = session(ctx, home, model)
    from rwkv_rag import models
    from rwkv_rag.rwkv.checkpoint import load_checkpoint
    from rwkv_rag.tuning import exports

    base = models.base_files(here.settings.model)
    exports.merge(
        models.shelf(here.settings),
        name,
        load_checkpoint(base.model),
        file,
        vocabulary=None if base.vocabulary == models.WORLD_VOCABULARY else base.vocabulary,
    )
    if json:
        return here.screen.json({"written": str(file)})
    here.screen.say("wrote {file}; use it with --model {file}", file=str(file))


def remove(
    ctx: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    home: Home = None,
) -> None:
    """Delete something tuned."""
    here = session(ctx, home)
    from rwkv_rag import models

    if not yes and not typer.confirm(here.screen.translate("delete {name}?", name=name), err=True):
        here.screen.note("nothing deleted")
        raise typer.Exit(1)
    models.shelf(here.settings).remove(name)
    if json:
        return here.screen.json({"deleted": name})
    here.screen.say("deleted {name}", name=name)


def _table(screen: Screen, things: list[Tuned]) -> Table:
    table = Table(box=None, header_style="dim")
    for title in COLUMNS:
        table.add_column(screen.translate(title), no_wrap=True)
    for tuned in things:
        cells = (
            tuned.name,
            screen.translate(tuned.kind),
            tuned.method,
            tuned.base_name,
            str(tuned.steps or ""),
            _loss(tuned),
        )
        table.add_row(*map(printable, cells))
    return table


def _loss(tuned: Tuned) -> str:
    """On held-out rows, before and after; the last steps' where nothing was held out."""
    if tuned.before is not None and tuned.after is not None:
        return f"{tuned.before:.3f} → {tuned.after:.3f}"
    return "" if tuned.loss is None else f"{tuned.loss:.3f}"
