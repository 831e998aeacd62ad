"""`rwkv-rag tune`: start, follow, stop and resume fine-tunings. Knows no method and no network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from rwkv_rag.cli import tune_data, tuned
from rwkv_rag.cli.options import Connect, Home, Json, Key, session
from rwkv_rag.cli.screen import Screen, printable, printable_lines
from rwkv_rag.cli.tune_options import with_settings
from rwkv_rag.errors import TuningFailed
from rwkv_rag.i18n import N_, _
from rwkv_rag.types import TuneEstimate, TuneJob, TuneSettings

if TYPE_CHECKING:
    from rwkv_rag.interfaces import Tuner

LOOK_S = 0.5  # between two looks at a job that is followed
OVERLAP = 4096  # characters of a log by which the place is found again
INTERRUPTED = 130
WIDE = 110  # columns from which a list of jobs says when they began
UNFINISHED = ("waiting", "running")

Id = Annotated[str, typer.Argument(help="Id of the job, or how it begins.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Stay until the job ends.")]
Base = Annotated[
    str | None, typer.Option(help="Model to tune: builtin or an RWKV checkpoint (default: as set).")
]

app = typer.Typer(no_args_is_help=True)
app.command("data")(tune_data.data)
app.command("rows")(tune_data.rows)
app.command("shelf")(tuned.shelf)
app.command("import")(tuned.import_file)
app.command("export")(tuned.export)
app.command("merge")(tuned.merge)
app.command("remove")(tuned.remove)


@app.command("start")
@with_settings
def start(
    ctx: typer.Context,
    settings: TuneSettings,
    model: Base = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the job.")] = False,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Start a fine-tuning; it goes on if this command is ended."""
    here = session(ctx, home, model, connect=connect, key=key)
    with here.parts() as parts:
        tuner = parts.tuner
        chosen = replace(settings, base=here.settings.model)
        # What does not fit is said by starting.
        if not json and (needs := tuner.estimate(chosen)).fits:
            _show_estimate(here.screen.note, needs)
            _show_login(here.screen, settings)
        job = tuner.start(chosen)
        if not json:
            here.screen.note("job {id} has begun", id=job.id)
        if not detach:
            job = follow(here.screen, tuner, job.id)
        if json:
            here.screen.json(job_record(job))
        _ended(here.screen, job, quiet=json)


@app.command("estimate")
@with_settings
def estimate(
    ctx: typer.Context,
    settings: TuneSettings,
    model: Base = None,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Say what a fine-tuning would need, and start nothing."""
    here = session(ctx, home, model, connect=connect, key=key)
    with here.parts() as parts:
        found = parts.tuner.estimate(replace(settings, base=here.settings.model))
    if json:
        return here.screen.json(
            {**asdict(found), "cheaper": [*map(str, found.cheaper)], "fits": found.fits}
        )
    _show_estimate(here.screen.say, found)
    _show_login(here.screen, settings)


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """List the fine-tuning jobs, the newest first."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        jobs = parts.tuner.jobs()
    if json:
        return here.screen.json([job_record(job) for job in jobs])
    if not jobs:
        return here.screen.note(
            "no job yet; start one with `rwkv-rag tune start METHOD --data FILE`"
        )
    here.screen.out.print(_table(here.screen, jobs))


@app.command("show")
def show(
    ctx: typer.Context,
    id: Id,
    follow_it: Follow = False,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Show a job: its settings, how far it is, and what it learned."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        tuner = parts.tuner
        job = follow(here.screen, tuner, id) if follow_it else tuner.job(id)
        if json:
            return here.screen.json(job_record(job))
        here.screen.out.print(_table(here.screen, [job]))
        for name, value in asdict(job.settings).items():
            here.screen.out.print(f"  {name:<14} {printable(str(value))}")
        _show_login(here.screen, job.settings)
        if job.reason:
            here.screen.out.print(printable(_(job.reason)))


@app.command("stop")
def stop(
    ctx: typer.Context, id: Id, home: Home = None, connect: Connect = None, key: Key = None
) -> None:
    """Ask a job to write a checkpoint and end."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        tuner = parts.tuner
        job = tuner.job(id)
        tuner.stop(job.id)
        here.screen.say("job {id} will stop after its step", id=job.id)


@app.command("resume")
def resume(
    ctx: typer.Context,
    id: Id,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow the job.")] = False,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Go on from the last checkpoint of a job that was stopped, interrupted or failed."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        tuner = parts.tuner
        job = tuner.resume(id)
        if not json:
            here.screen.note("job {id} goes on from its last checkpoint", id=job.id)
        if not detach:
            job = follow(here.screen, tuner, job.id)
        if json:
            here.screen.json(job_record(job))
        _ended(here.screen, job, quiet=json)


@app.command("forget")
def forget(
    ctx: typer.Context,
    id: Id,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Delete a job that does not run, with its figures; what it made stays."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        tuner = parts.tuner
        job = tuner.job(id)
        asked = here.screen.translate(
            "forget job {id} ({name})?", id=job.id, name=job.settings.name
        )
        if not yes and not typer.confirm(asked, err=True):
            here.screen.note("nothing deleted")
            raise typer.Exit(1)
        tuner.forget(job.id)
        if json:
            return here.screen.json({"deleted": job.id})
        here.screen.say("deleted {name}", name=job.id)


@app.command("logs")
def logs(
    ctx: typer.Context,
    id: Id,
    follow_it: Follow = False,
    home: Home = None,
    connect: Connect = None,
    key: Key = None,
) -> None:
    """Print what a job's process wrote."""
    here = session(ctx, home, connect=connect, key=key)
    with here.parts() as parts:
        tuner, shown = parts.tuner, ""
        while True:
            job, text = tuner.job(id), tuner.logs(id)
            here.screen.out.print(printable_lines(added(shown, text)), end="")
            shown = text
            if not follow_it or job.status not in UNFINISHED:
                return
            time.sleep(LOOK_S)


def added(before: str, now: str) -> str:
    """What a log says since `before`. Of a long one only the end is known, so it moves on."""
    if now.startswith(before):
        return now[len(before) :]
    last = before[-OVERLAP:]
    place = now.rfind(last)
    return now if place < 0 else now[place + len(last) :]


def follow(screen: Screen, tuner: Tuner, id: str) -> TuneJob:
    """Watch a job to its end; Ctrl-C stops the watching and not the job."""
    try:
        with screen.progress("training") as bar:
            while (job := tuner.job(id)).status in UNFINISHED:
                bar.show(job.step, job.steps or None, _said(screen, job))
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        screen.note(
            "job {id} goes on; `rwkv-rag tune show {id} --follow` follows it, "
            "`rwkv-rag tune stop {id}` ends it",
            id=id,
        )
        raise typer.Exit(INTERRUPTED) from None
    return job


def job_record(job: TuneJob) -> dict[str, Any]:
    """A job as JSON."""
    settings = {**asdict(job.settings), "data": str(job.settings.data)}
    return {**asdict(job), "settings": settings, "reason": str(job.reason or "")}


def _said(screen: Screen, job: TuneJob) -> str:
    if job.loss is None:
        return screen.translate(job.status)
    return screen.translate(
        "loss {loss:.3f}, {speed:,.0f} tok/s, {memory:.1f} GB",
        loss=job.loss,
        speed=job.tokens_per_s,
        memory=job.memory_bytes / 1e9,
    )


def _ended(screen: Screen, job: TuneJob, *, quiet: bool) -> None:
    """Say how a job ended. Raises TuningFailed where it failed."""
    if job.status == "failed":
        raise TuningFailed("job {id} failed: {reason}", id=job.id, reason=job.reason)
    if quiet or job.status in UNFINISHED:
        return
    if job.status != "done":
        return screen.note(
            "job {id} is {status}; `rwkv-rag tune resume {id}` goes on",
            id=job.id,
            status=screen.translate(job.status),
        )
    if job.after is None:
        return screen.say(
            "{name}: loss {loss} in the last step; no rows were held back to measure it on",
            name=job.settings.name,
            loss=_figure(job.loss),
        )
    screen.say(
        "{name}: loss {before} before, {after} after, on rows never trained on",
        name=job.settings.name,
        before=_figure(job.before),
        after=_figure(job.after),
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _show_login(screen: Screen, settings: TuneSettings) -> None:
    if settings.wandb == "off":
        return
    from rwkv_rag.tuning import tracking

    screen.note("Weights & Biases: {login}", login=screen.translate(tracking.wandb_login()))


def _show_estimate(note: Callable[..., None], found: TuneEstimate) -> None:
    note(
        "{memory:.1f} GB of memory of {free:.1f} GB free; {trainable:,} numbers train",
        memory=found.memory_bytes / 1e9,
        free=found.available_bytes / 1e9,
        trainable=found.trainable,
    )
    if found.seconds is not None:
        note("about {minutes:.1f} minutes", minutes=found.seconds / 60)
    for way in found.cheaper:
        note("would fit with: {way}", way=way)


def _table(screen: Screen, jobs: list[TuneJob]) -> Table:
    titles = [
        *(N_("job"), N_("name"), N_("method"), N_("status"), N_("step"), N_("loss")),
        *(N_("before"), N_("after"), N_("begun")),
    ]
    if screen.out.width < WIDE:  # ids and figures must not be cut
        titles.pop()
    table = Table(box=None, header_style="dim")
    for title in titles:
        table.add_column(screen.translate(title), no_wrap=title != "name", overflow="fold")
    for job in jobs:
        cells = (
            job.id,
            job.settings.name,
            job.settings.method,
            screen.translate(job.status),
            f"{job.step}/{job.steps}",
            *map(_figure, (job.loss, job.before, job.after)),
            job.created[:16].replace("T", " "),
        )
        table.add_row(*map(printable, cells[: len(titles)]))
    return table
