"""`rwkv-rag tune data` and `tune rows`: training rows as tokens, and rows from a knowledge base.

Knows neither the forms of a row nor how questions are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import Enum
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from rwkv_rag.cli.options import SERVICES, Json, Session, with_session
from rwkv_rag.cli.screen import Screen
from rwkv_rag.errors import AlreadyExists, InputError, system_reason
from rwkv_rag.i18n import _

if TYPE_CHECKING:
    from rwkv_rag.tuning.dataset import Prepared

SHOWN = 20
"""Bad lines that are printed one by one."""


class Scored(str, Enum):
    """What the loss counts."""

    answers = "answers"
    all = "all"


@with_session(model="Model whose vocabulary is used (default: the builtin one).")
def data(
    here: Session,
    file: Annotated[Path, typer.Argument(help="Rows: .jsonl, .jsonl.xz, .jsonl.gz, or a .bin.")],
    out: Annotated[
        Path | None, typer.Argument(help="What OUT.bin and OUT.idx are called; not for a .bin.")
    ] = None,
    scored: Annotated[
        Scored, typer.Option(help="What training learns: the answers, or every token.")
    ] = Scored.answers,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad lines out instead of stopping.")
    ] = False,
    context: Annotated[
        int, typer.Option(min=2, help="Context length that the magic prime is told for.")
    ] = 512,
    json: Json = False,
) -> None:
    """Turn training rows into tokens (binidx), or check a .bin that is there already."""
    prefix = _prefix(file, out)
    from rwkv_rag import app
    from rwkv_rag.tuning import binidx

    with here.screen.progress("reading rows") as bar:
        prepared = app.prepare_rows(
            here.settings,
            file,
            prefix,
            scored=scored.value,
            skip_bad=skip_bad,
            progress=lambda done, total: bar.show(done, total),
        )
    prime = binidx.magic_prime(prepared.tokens, context)
    if json:
        return here.screen.json(_record(prepared, context, prime))
    _show(here.screen, prepared, context, prime)


@with_session(*SERVICES, model="RWKV checkpoint that writes the questions.")
def rows(
    here: Session,
    kb: Annotated[str, typer.Argument(help="Name of the knowledge base.")],
    out: Annotated[Path, typer.Argument(help="The .jsonl file to write.")],
    count: Annotated[int, typer.Option("--rows", min=1, help="How many rows at most.")] = 200,
    refusals: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of rows whose passages hold no answer.")
    ] = 0.2,
    passages: Annotated[int, typer.Option(min=1, max=10, help="Passages a row has at most.")] = 3,
    seed: Annotated[int, typer.Option(help="Another number makes other rows.")] = 0,
) -> None:
    """Make training rows from a knowledge base: questions, passages, answers, refusals."""
    if out.exists():
        raise AlreadyExists("{out} exists already; choose another name or delete it", out=out)
    made, writer = 0, ""
    with (
        here.client(writes=True) as client,
        here.screen.progress("making rows", count) as bar,
    ):
        events = client.training_rows(
            kb, rows=count, refusals=refusals, passages=passages, seed=seed
        )
        with _new_file(out) as file:
            for event in events:
                bar.show(event.rows, count)
                made, writer = event.rows, event.written_by
                if event.row is not None:
                    file.write(dumps(event.row, ensure_ascii=False) + "\n")
    if writer == "rules":
        here.screen.note("the model does not write; the questions were made by rule")
    here.screen.say("{made} rows in {file}; read and edit them before use", made=made, file=out)


def _prefix(file: Path, out: Path | None) -> Path:
    """Where the tokens go. Raises InputError without a name, AlreadyExists where something is."""
    if file.suffix.lower() in (".bin", ".idx"):
        return file.with_suffix("")
    if out is None:
        raise InputError("there is no name for the tokens of {file}; give OUT after it", file=file)
    prefix = out.with_suffix("") if out.suffix in (".bin", ".idx") else out
    for ending in (".bin", ".idx", ".mask"):
        path = prefix.with_name(prefix.name + ending)
        if path.exists():
            raise AlreadyExists(
                "{path} exists already; choose another name or delete it", path=path
            )
    return prefix


@contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """A new text file; it is deleted if it stays empty, and kept if writing breaks off."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise InputError(
            "{path} cannot be written: {reason}", path=path, reason=system_reason(error)
        ) from error
    finally:
        if path.is_file() and not path.stat().st_size:
            path.unlink()


def _record(prepared: Prepared, context: int, prime: int | None) -> dict[str, Any]:
    return {
        **asdict(prepared),
        "prefix": str(prepared.prefix),
        "skipped": [(number, str(reason)) for number, reason in prepared.skipped],
        "context": context,
        "magic_prime": prime,
        "my_exit_tokens": prepared.tokens,
    }


def _show(screen: Screen, prepared: Prepared, context: int, prime: int | None) -> None:
    for number, reason in prepared.skipped[:SHOWN]:
        screen.note(
            "line {number} skipped: {reason}", style="yellow", number=number, reason=_(reason)
        )
    if prepared.bad:
        screen.note("{bad} bad lines skipped in all", style="yellow", bad=f"{prepared.bad:,}")
    screen.say(
        "{prefix}: {rows} rows, {tokens} tokens, {scored} of them learned, longest row {longest}",
        prefix=prepared.prefix,
        rows=f"{prepared.rows:,}",
        tokens=f"{prepared.tokens:,}",
        scored=f"{prepared.scored:,}",
        longest=f"{prepared.longest:,}",
    )
    if prime is None:
        return screen.note("too few tokens for a magic prime at context {n}", n=context)
    screen.say(
        "for RWKV-LM: --my_exit_tokens {tokens} --magic_prime {prime} --ctx_len {n}",
        tokens=prepared.tokens,
        prime=prime,
        n=context,
    )
