"""`rwkv-rag tune`: start, follow, stop and resume fine-tunings. Knows no method and no network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwkv_rag.cli import tune_data, tuned
from rwkv_rag.cli.options import SERVICES, Json, Session, Yes, with_session, with_settings
from rwkv_rag.cli.screen import Screen, printable, printable_lines
from rwkv_rag.cli.usage import INTERRUPTED, Commands
from rwkv_rag.errors import TuningFailed
from rwkv_rag.i18n import N_, _
from rwkv_rag.types import TuneEstimate, TuneJob, TuneSettings

if TYPE_CHECKING:
    from rwkv_rag.interfaces import Tuner

LOOK_S = 0.5  # between two looks at a job that is followed
OVERLAP = 4096  # characters of a log by which the place is found again
WIDE = 110  # columns from which a list of jobs says when they began
TITLES = (
    *(N_("job"), N_("name"), N_("method"), N_("status"), N_("step"), N_("loss")),
    *(N_("before"), N_("after"), N_("begun")),
)
UNFINISHED = ("waiting", "running")

Id = Annotated[str, typer.Argument(help="Id of the job, or how it begins.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Stay until the job ends.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not follow the job.")]
BASE = "Model to tune: builtin or an RWKV checkpoint (default: as set)."

app = Commands(no_args_is_help=True)
app.command("data")(tune_data.data)
app.command("rows")(tune_data.rows)
app.command("shelf")(tuned.shelf)
app.command("import")(tuned.import_file)
app.command("export")(tuned.export)
app.command("merge")(tuned.merge)
app.command("remove")(tuned.remove)


@app.command("start")
@with_session(*SERVICES, model=BASE)
@with_settings
def start(
    here: Session, settings: TuneSettings, detach: Detach = False, json: Json = False
) -> None:
    """Start a fine-tuning; it goes on if this command is ended."""
    with here.client() as client:
        tuner = client.tuner
        chosen = replace(settings, base=here.settings.model)
        # What does not fit is an error of `start`.
        if not json and (needs := tuner.estimate(chosen)).fits:
            _show_estimate(here.screen.note, needs)
            _show_login(here.screen, settings)
        job = tuner.start(chosen)
        if not json:
            here.screen.note("job {id} has begun", id=job.id)
        _conclude(here.screen, tuner, job, detach=detach, json=json)


@app.command("estimate")
@with_session(*SERVICES, model=BASE)
@with_settings
def estimate(here: Session, settings: TuneSettings, json: Json = False) -> None:
    """Say what a fine-tuning would need, and start nothing."""
    with here.client() as client:
        found = client.tuner.estimate(replace(settings, base=here.settings.model))
    if json:
        ways = [*map(str, found.cheaper)]
        return here.screen.json({**asdict(found), "cheaper": ways, "fits": found.fits})
    _show_estimate(here.screen.say, found)
    _show_login(here.screen, settings)


@app.command("list")
@with_session(*SERVICES)
def list_jobs(here: Session, json: Json = False) -> None:
    """List the fine-tuning jobs, the newest first."""
    with here.client() as client:
        jobs = client.tuner.jobs()
    if json:
        return here.screen.json([job_record(job) for job in jobs])
    if not jobs:
        return here.screen.note(
            "no job yet; start one with `rwkv-rag tune start METHOD --data FILE`"
        )
    _show_jobs(here.screen, jobs)


@app.command("show")
@with_session(*SERVICES)
def show(here: Session, id: Id, follow: Follow = False, json: Json = False) -> None:
    """Show a job: its settings, how far it is, and what it learned."""
    with here.client() as client:
        job = _followed(here.screen, client.tuner, id) if follow else client.tuner.job(id)
    if json:
        return here.screen.json(job_record(job))
    _show_jobs(here.screen, [job])
    for name, value in asdict(job.settings).items():
        here.screen.out.print(f"  {name:<14} {printable(str(value))}")
    _show_login(here.screen, job.settings)
    if job.reason:
        here.screen.out.print(printable(_(job.reason)))


@app.command("stop")
@with_session(*SERVICES)
def stop(here: Session, id: Id) -> None:
    """Ask a job to write a checkpoint and end."""
    with here.client() as client:
        job = client.tuner.job(id)
        client.tuner.stop(job.id)
    here.screen.say("job {id} will stop after its step", id=job.id)


@app.command("resume")
@with_session(*SERVICES)
def resume(here: Session, id: Id, detach: Detach = False, json: Json = False) -> None:
    """Go on from the last checkpoint of a job that was stopped, interrupted or failed."""
    with here.client() as client:
        job = client.tuner.resume(id)
        if not json:
            here.screen.note("job {id} goes on from its last checkpoint", id=job.id)
        _conclude(here.screen, client.tuner, job, detach=detach, json=json)


@app.command("forget")
@with_session(*SERVICES)
def forget(here: Session, id: Id, yes: Yes = False, json: Json = False) -> None:
    """Delete a job that does not run, with its figures; what it made stays."""
    with here.client() as client:
        job = client.tuner.job(id)
        if not yes:
            here.screen.confirm("forget job {id} ({name})?", id=job.id, name=job.settings.name)
        client.tuner.forget(job.id)
    if json:
        return here.screen.json({"deleted": job.id})
    here.screen.say("deleted {name}", name=job.id)


@app.command("logs")
@with_session(*SERVICES)
def logs(here: Session, id: Id, follow: Follow = False) -> None:
    """Print what a job's process wrote."""
    with here.client() as client:
        shown = ""
        while True:
            job, text = client.tuner.job(id), client.tuner.logs(id)
            here.screen.out.print(printable_lines(added(shown, text)), end="")
            shown = text
            if not follow or job.status not in UNFINISHED:
                return
            time.sleep(LOOK_S)


def added(before: str, now: str) -> str:
    """What was added to a log since `before`; of a long log only the end is known."""
    if now.startswith(before):
        return now[len(before) :]
    last = before[-OVERLAP:]
    place = now.rfind(last)
    return now if place < 0 else now[place + len(last) :]


def _followed(screen: Screen, tuner: Tuner, id: str) -> TuneJob:
    """Watch a job to its end; Ctrl-C stops the watching and not the job."""
    try:
        with screen.progress("training") as bar:
            while (job := tuner.job(id)).status in UNFINISHED:
                bar.show(job.step, job.steps or None, _progress(job))
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


def _progress(job: TuneJob) -> str:
    if job.loss is None:
        return _(job.status)
    return _(
        "loss {loss:.3f}, {speed:,.0f} tok/s, {memory:.1f} GB",
        loss=job.loss,
        speed=job.tokens_per_s,
        memory=job.memory_bytes / 1e9,
    )


def _conclude(screen: Screen, tuner: Tuner, job: TuneJob, *, detach: bool, json: bool) -> None:
    """Follow a job that was just started, and show how it ended. Raises where it failed."""
    if not detach:
        job = _followed(screen, tuner, job.id)
    if json:
        screen.json(job_record(job))
    if job.status == "failed":
        raise TuningFailed("job {id} failed: {reason}", id=job.id, reason=job.reason)
    if not json and job.status not in UNFINISHED:
        _show_result(screen, job)


def _show_result(screen: Screen, job: TuneJob) -> None:
    if job.status != "done":
        screen.note(
            "job {id} is {status}; `rwkv-rag tune resume {id}` goes on",
            id=job.id,
            status=_(job.status),
        )
    elif job.after is None:
        screen.say(
            "{name}: loss {loss} in the last step; no rows were held back to measure it on",
            name=job.settings.name,
            loss=_figure(job.loss),
        )
    else:
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

    screen.note("Weights & Biases: {login}", login=_(tracking.wandb_login()))


def _show_estimate(tell: Callable[..., None], found: TuneEstimate) -> None:
    tell(
        N_("{memory:.1f} GB of memory of {free:.1f} GB free; {trainable:,} numbers train"),
        memory=found.memory_bytes / 1e9,
        free=found.available_bytes / 1e9,
        trainable=found.trainable,
    )
    if found.seconds is not None:
        tell(N_("about {minutes:.1f} minutes"), minutes=found.seconds / 60)
    for way in found.cheaper:
        tell(N_("would fit with: {way}"), way=_(way))


def _show_jobs(screen: Screen, jobs: Iterable[TuneJob]) -> None:
    titles = TITLES if screen.out.width >= WIDE else TITLES[:-1]  # ids and figures are not cut
    rows = [
        (
            job.id,
            job.settings.name,
            job.settings.method,
            _(job.status),
            f"{job.step}/{job.steps}",
            *map(_figure, (job.loss, job.before, job.after)),
            job.created[:16].replace("T", " "),
        )[: len(titles)]
        for job in jobs
    ]
    screen.table(titles, rows, wrapped="name")
