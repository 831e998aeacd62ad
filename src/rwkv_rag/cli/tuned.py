"""`rwkv-rag tune shelf`, `import`, `export`, `merge`, `remove`: what has been tuned.

Knows no file format; the commands become a group in `cli.tune`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rwkv_rag.cli.options import Json, Session, Yes, with_session
from rwkv_rag.i18n import N_, _

if TYPE_CHECKING:
    from rwkv_rag.rwkv.tuned import Tuned

Name = Annotated[str, typer.Argument(help="Name of what was tuned.")]
BASE = "Model it belongs to (default: the builtin one)."
KINDS = (N_("state"), N_("adapter"), N_("model"))


@with_session()
def shelf(here: Session, json: Json = False) -> None:
    """List what has been tuned and imported."""
    from rwkv_rag import models

    things = models.tuned_store(here.settings).all()
    if json:
        return here.screen.json([asdict(tuned) for tuned in things])
    if not things:
        return here.screen.note("nothing tuned yet; begin with `rwkv-rag tune start`")
    here.screen.table(
        [N_("name"), N_("kind"), N_("method"), N_("base"), N_("steps"), N_("loss")],
        [
            (
                tuned.name,
                _(tuned.kind),
                tuned.method,
                tuned.base_name,
                tuned.steps or "",
                _loss(tuned),
            )
            for tuned in things
        ],
    )


@with_session(model=BASE)
def import_file(
    here: Session,
    file: Annotated[
        Path, typer.Argument(help="A time_state, LoRA, PiSSA or DiSHA file, or a folder of peft.")
    ],
    name: Annotated[str, typer.Option("--name", help="What to call it.")],
    alpha: Annotated[
        float | None, typer.Option(help="Alpha a LoRA was trained with, where its file lacks it.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", help="First pairs of a PiSSA (init_pissa.pth).")
    ] = None,
    json: Json = False,
) -> None:
    """Take in a state or adapter that another program trained."""
    from rwkv_rag import models
    from rwkv_rag.tuning import exports

    store, base = models.tuned_store(here.settings), models.base_files(here.settings.model)
    what, tuned = exports.import_file(store, base, file, name, alpha=alpha, first=init)
    if json:
        return here.screen.json({"found": what, **asdict(tuned)})
    here.screen.say(
        "imported {name} for {base}: {what}",
        name=name,
        base=tuned.base_name,
        what=_(what),
    )


@with_session()
def export(
    here: Session,
    name: Name,
    file: Annotated[
        Path,
        typer.Argument(help="FILE.safetensors, FILE.pth, or for an adapter a new folder (peft)."),
    ],
    json: Json = False,
) -> None:
    """Write a state or adapter for other programs."""
    from rwkv_rag import models
    from rwkv_rag.tuning import exports

    written = exports.export(models.tuned_store(here.settings), name, file)
    if json:
        return here.screen.json({"written": str(file), **asdict(written)})
    here.screen.say("wrote {file}: {what}", file=file, what=_(written.what))
    if written.alpha is not None:
        here.screen.note("merge it with an alpha of {alpha}", alpha=written.alpha)


@with_session(model=BASE)
def merge(
    here: Session,
    name: Name,
    file: Annotated[Path, typer.Argument(help="The new model, FILE.safetensors.")],
    json: Json = False,
) -> None:
    """Write a whole model: the base with a state or adapter in it."""
    from rwkv_rag import models
    from rwkv_rag.rwkv.checkpoint import load_checkpoint
    from rwkv_rag.tuning import exports

    base = models.base_files(here.settings.model)
    exports.merge(
        models.tuned_store(here.settings),
        name,
        load_checkpoint(base.model),
        file,
        vocabulary=None if base.vocabulary == models.WORLD_VOCABULARY else base.vocabulary,
    )
    if json:
        return here.screen.json({"written": str(file)})
    here.screen.say("wrote {file}; use it with --model {file}", file=file)


@with_session()
def remove(here: Session, name: Name, yes: Yes = False, json: Json = False) -> None:
    """Delete something tuned."""
    from rwkv_rag import models

    if not yes:
        here.screen.confirm("delete {name}?", name=name)
    models.tuned_store(here.settings).remove(name)
    if json:
        return here.screen.json({"deleted": name})
    here.screen.say("deleted {name}", name=name)


def _loss(tuned: Tuned) -> str:
    """On held-out rows, before and after; the last steps' where nothing was held out."""
    if tuned.before is not None and tuned.after is not None:
        return f"{tuned.before:.3f} → {tuned.after:.3f}"
    return "" if tuned.loss is None else f"{tuned.loss:.3f}"
