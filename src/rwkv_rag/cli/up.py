"""`rwkv-rag up` and its kin: start all services, look at them, restart one, stop them.

Knows how services are told about, not how they are run.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rwkv_rag import i18n
from rwkv_rag.cli.options import Home, Json, Model, Session, Tuned, session
from rwkv_rag.cli.screen import Screen
from rwkv_rag.errors import Busy, InputError, Message
from rwkv_rag.i18n import N_, _

if TYPE_CHECKING:
    from rwkv_rag.config.effective import Effective
    from rwkv_rag.interfaces import Supervision
    from rwkv_rag.run_directory import Running
    from rwkv_rag.types import ServiceStatus

NOTHING_RUNS = 3
ALL_FAILED = 1
DOWN_S = 60.0
LOOK_S = 0.05
COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green")

Config = Annotated[
    Path | None,
    typer.Option("--config", help="ragq.yml to use (default: ./ragq.yml, then HOME/ragq.yml)."),
]


def up(
    ctx: typer.Context,
    only: Annotated[str, typer.Option(help="Only these services, like llm,index,ui.")] = "",
    file: Config = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the pages (8501).")
    ] = None,
    api_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the HTTP API (8600).")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    model: Model = None,
    tuned: Tuned = None,
    home: Home = None,
) -> None:
    """Start all services, the HTTP API and the pages; Ctrl-C stops them."""
    from rwkv_rag.processes.plan import Plan, plan
    from rwkv_rag.processes.supervisor import Supervisor
    from rwkv_rag.run_directory import RunDirectory

    names = [name.strip() for name in only.split(",") if name.strip()]

    def read() -> Effective:
        found = _effective(ctx, home, file, model=model, tuned=tuned)
        return found.with_ports(ui=port, api=api_port)

    effective = read()
    directory = RunDirectory(effective.settings.home)
    opening = iter((browser,))

    def planned() -> Plan:  # a browser opens at the start and not after a restart
        return plan(read(), directory.socket, names, browser=next(opening, False))

    told = Told(Screen())
    supervisor = Supervisor(directory, planned, told)
    told.all_failed = supervisor.stop
    with _signals(supervisor):
        supervisor.run()
    told.screen.note("everything is stopped")
    raise typer.Exit(ALL_FAILED if told.failed else 0)


def status(ctx: typer.Context, json_: Json = False, home: Home = None) -> None:
    """What runs: queues, workers, times, memory."""
    here = session(ctx, home)
    found = _running(here)
    if found is None:
        if json_:
            here.screen.json({"running": False, "services": []})
        else:
            _say_nothing_runs(here)
        raise typer.Exit(NOTHING_RUNS)
    from rwkv_rag.cli import services

    with _supervision(found) as supervision:
        listed = supervision.status()
    if json_:
        here.screen.json(services.as_json(found, listed))
    else:
        services.show(here.screen, found, listed)


def down(ctx: typer.Context, home: Home = None) -> None:
    """Stop everything that `rwkv-rag up` started, and wait until it is stopped."""
    from rwkv_rag.run_directory import is_locked

    here = session(ctx, home)
    found = _running(here)
    if found is None:
        return _say_nothing_runs(here)
    with _supervision(found) as supervision:
        supervision.stop()
    deadline = time.monotonic() + DOWN_S
    while is_locked(here.settings.home):
        if time.monotonic() > deadline:
            raise Busy(
                "process {pid} has not stopped yet; wait, or end it with kill", pid=found.pid
            )
        time.sleep(LOOK_S)
    here.screen.say("everything is stopped")
    return None


def restart(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(help="llm, index, tuning, api or ui.")],
    home: Home = None,
) -> None:
    """Restart one service with ragq.yml as it is now; its requests wait, the others go on."""
    here = session(ctx, home)
    found = _running(here)
    if found is None:
        _say_nothing_runs(here)
        raise typer.Exit(NOTHING_RUNS)
    with _supervision(found) as supervision:
        *_, last = supervision.restart(service)
    if last.state != "ready":
        raise InputError(
            "{service} did not start again: {reason}",
            service=service,
            reason=last.reason or last.state,
        )
    here.screen.say("{service} runs again", service=service)


def worker(
    ctx: typer.Context,
    service: Annotated[str, typer.Argument(help="The service to work for: llm.")],
    connect: Annotated[str, typer.Option(help="Its back end, tcp://HOST:PORT.")],
    key: Annotated[
        Path | None, typer.Option(help="Key file made there with `rwkv-rag keys add`.")
    ] = None,
    num_workers: Annotated[
        int, typer.Option("--num-workers", min=1, max=64, help="How many processes.")
    ] = 1,
    device: Annotated[str, typer.Option(help="auto or cpu (models run on the CPU).")] = "auto",
    file: Config = None,
    model: Model = None,
    tuned: Tuned = None,
    home: Home = None,
) -> None:
    """Work for a service that runs on another machine; Ctrl-C leaves it."""
    from rwkv_rag.processes.groups import RemoteWorkers

    if device not in ("auto", "cpu"):
        raise InputError(
            "--device is {device!r}; allowed: auto or cpu (models run on the CPU)", device=device
        )
    effective = _effective(ctx, home, file, model=model, tuned=tuned)
    told = Told(Screen())
    workers = RemoteWorkers(
        effective, service, connect, key=key, num_workers=num_workers, listener=told
    )
    told.screen.note("working for {address} — Ctrl-C ends it", address=connect)
    with _signals(workers):
        workers.run()


def config(
    ctx: typer.Context,
    file: Config = None,
    json_: Json = False,
    model: Model = None,
    tuned: Tuned = None,
    home: Home = None,
) -> None:
    """Print the configuration that counts, as a ragq.yml."""
    effective = _effective(ctx, home, file, model=model, tuned=tuned)
    screen = Screen()
    if json_:
        screen.json(effective.json())
    else:
        screen.out.print(effective.yaml(), end="")


class Told:
    """Prints what the supervisor tells: lines of processes, states, and at last the addresses."""

    def __init__(self, screen: Screen) -> None:
        self.screen, self.failed = screen, False
        self.all_failed: Any = lambda: None
        self._began = time.monotonic()
        self._colours: dict[str, str] = {}

    def wrote(self, name: str, line: Message) -> None:
        """A line of a process, with its name before it."""
        from rich.text import Text

        prefix = Text(f"{name:<12} | ", style=self._colour(name))
        self.screen.err.print(prefix + Text(_(line)))

    def changed(self, process: str, state: str, reason: Message | None) -> None:
        """What a process has become."""
        if state == "ready" and not process.endswith("-router"):
            took_s = time.monotonic() - self._began
            self.screen.note("{name}: ready ({seconds} s)", name=process, seconds=f"{took_s:.1f}")
        elif state == "started":
            self.screen.note("{name}: started; it works once it has the model", name=process)
        elif state == "restarting":
            text = N_("{name}: ended ({reason}); it is started again")
            self.screen.note(text, style="yellow", name=process, reason=reason)
        elif state == "failed":
            text = N_("{name}: failed ({reason}); the others go on")
            self.screen.note(text, style="red", name=process, reason=reason)

    def settled(self, services: list[ServiceStatus]) -> None:
        """Where everything is reached."""
        ready = {each.name: each.address for each in services if each.state == "ready"}
        if not ready:
            self.failed = True
            self.all_failed()
            return
        labels = {"ui": N_("pages: {address}"), "api": N_("HTTP API: {address}")}
        for name, text in labels.items():
            if name in ready:
                self.screen.say(text, style="bold", address=ready[name])
        self.screen.say("ready; Ctrl-C stops everything, and so does rwkv-rag down")

    def stopping(self, jobs: list[str]) -> None:
        """What goes on after the end."""
        self.screen.note("stopping; a second Ctrl-C stops at once")
        for job in jobs:
            text = N_(
                "fine-tuning {job} goes on by itself; follow it with rwkv-rag tune show {job}"
            )
            self.screen.note(text, style="yellow", job=job)

    def _colour(self, name: str) -> str:
        return self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])


def _effective(ctx: typer.Context, home: Path | None, file: Path | None, **given: Any) -> Effective:
    from rwkv_rag.config import effective

    found = effective.load(home=home, file=file, language=ctx.find_root().obj, **given)
    i18n.set_language(found.settings.language)
    return found


def _running(here: Session) -> Running | None:
    from rwkv_rag.run_directory import running

    return running(here.settings.home)


def _say_nothing_runs(here: Session) -> None:
    home = str(here.settings.home)
    here.screen.say("nothing runs on {home}; start it with rwkv-rag up", home=home)


@contextmanager
def _supervision(found: Running) -> Iterator[Supervision]:
    from rwkv_rag.bus.client import QueueClient
    from rwkv_rag.services.contracts import SUPERVISION
    from rwkv_rag.services.remote import remote

    with closing(QueueClient(found.control)) as transport:
        yield remote(SUPERVISION, transport)


@contextmanager
def _signals(running: Any) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal stop it; a second time at once."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        running.kill() if asked else running.stop()
        asked = True

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = [(number, signal.signal(number, ask)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
