"""`rwkv-rag up` and its companions: start all services, look at them, restart one, stop them.

Knows the supervisor's Protocol, not how it runs its processes.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from rwkv_rag.cli.options import Browser, Json, Session, with_session
from rwkv_rag.cli.screen import Screen, printable
from rwkv_rag.errors import Busy, InputError, Message
from rwkv_rag.i18n import N_, _, in_language, language

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
ADDRESSES = {"ui": N_("pages: {address}"), "api": N_("HTTP API: {address}")}
CHANGES = {  # what a process has become, and how that is shown
    "started": (N_("{name}: started; it works once it has the model"), "dim"),
    "restarting": (N_("{name}: ended ({reason}); it is started again"), "yellow"),
    "failed": (N_("{name}: failed ({reason}); the others go on"), "red"),
}

Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the pages (8501).")]
ApiPort = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the HTTP API (8600).")]


@with_session("file", "model", "tuned")
def up(
    here: Session,
    only: Annotated[str, typer.Option(help="Only these services, like llm,index,ui.")] = "",
    port: Port = None,
    api_port: ApiPort = None,
    browser: Browser = True,
) -> None:
    """Start all services, the HTTP API and the pages; Ctrl-C stops them."""
    from rwkv_rag.processes.plan import Plan, plan
    from rwkv_rag.processes.supervisor import Supervisor
    from rwkv_rag.run_directory import RunDirectory

    names = [name.strip() for name in only.split(",") if name.strip()]

    def read() -> Effective:
        return here.effective().with_ports(ui=port, api=api_port)

    directory = RunDirectory(read().settings.home)
    opening = iter((browser,))

    def planned() -> Plan:  # a browser opens at the start and not after a restart
        return plan(read(), directory.socket, names, browser=next(opening, False))

    output = ServiceOutput(here.screen)
    supervisor = Supervisor(directory, planned, output)
    output.all_failed = supervisor.stop
    with _signals(supervisor):
        supervisor.run()
    here.screen.note("everything is stopped")
    raise typer.Exit(ALL_FAILED if output.failed else 0)


@with_session()
def status(here: Session, json: Json = False) -> None:
    """What runs: queues, workers, times, memory."""
    found = _running(here, quiet=json)
    if found is None:
        if json:
            here.screen.json({"running": False, "services": []})
        raise typer.Exit(NOTHING_RUNS)
    from rwkv_rag.cli import services

    with _supervision(found) as supervision:
        listed = supervision.status()
    if json:
        here.screen.json(services.as_json(found, listed))
    else:
        services.show(here.screen, found, listed)


@with_session()
def down(here: Session) -> None:
    """Stop everything that `rwkv-rag up` started, and wait until it is stopped."""
    from rwkv_rag.run_directory import is_locked

    found = _running(here)
    if found is None:
        return
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


@with_session()
def restart(
    here: Session,
    service: Annotated[str, typer.Argument(help="llm, index, tuning, api or ui.")],
) -> None:
    """Restart one service with ragq.yml as it is now; its requests wait, the others go on."""
    found = _running(here)
    if found is None:
        raise typer.Exit(NOTHING_RUNS)
    with _supervision(found) as supervision:
        *_states, last = supervision.restart(service)
    if last.state != "ready":
        raise InputError(
            "{service} did not start again: {reason}",
            service=service,
            reason=last.reason or Message(last.state),
        )
    here.screen.say("{service} runs again", service=service)


@with_session("file", "model", "tuned", key="Key file made there with `rwkv-rag keys add`.")
def worker(
    here: Session,
    service: Annotated[str, typer.Argument(help="The service to work for: llm.")],
    connect: Annotated[str, typer.Option(help="Its back end, tcp://HOST:PORT.")],
    num_workers: Annotated[
        int, typer.Option("--num-workers", min=1, max=64, help="How many processes.")
    ] = 1,
) -> None:
    """Work for a service that runs on another machine; Ctrl-C leaves it."""
    from rwkv_rag.processes.groups import RemoteWorkers

    key = here.given.pop("key")  # for this connection; the settings of the workers have none
    output = ServiceOutput(here.screen)
    workers = RemoteWorkers(
        here.effective(), service, connect, key=key, num_workers=num_workers, listener=output
    )
    here.screen.note("working for {address} — Ctrl-C ends it", address=connect)
    with _signals(workers):
        workers.run()


@with_session("file", "model", "tuned")
def config(here: Session, json: Json = False) -> None:
    """Print the configuration that counts, as a ragq.yml."""
    effective = here.effective()
    if json:
        here.screen.json(effective.json())
    else:
        here.screen.out.print(effective.yaml(), end="")


class ServiceOutput:
    """Prints what a supervisor reports: lines of processes, their states, the addresses.

    It is called from threads of the supervisor, which do not inherit the language.
    """

    def __init__(self, screen: Screen) -> None:
        self.failed = False
        self.all_failed: Any = lambda: None
        self._screen, self._language = screen, language()
        self._began = time.monotonic()
        self._colours: dict[str, str] = {}

    def wrote(self, name: str, line: Message) -> None:
        """A line of a process, with its name before it."""
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        with in_language(self._language):
            text = Text(printable(_(line)))
        self._screen.err.print(Text(f"{name:<12} | ", style=colour) + text)

    def changed(self, process: str, state: str, reason: Message | None) -> None:
        """What a process has become."""
        with in_language(self._language):
            if state == "ready" and not process.endswith("-router"):
                took_s = f"{time.monotonic() - self._began:.1f}"
                self._screen.note("{name}: ready ({seconds} s)", name=process, seconds=took_s)
            elif state in CHANGES:
                text, style = CHANGES[state]
                self._screen.note(text, style=style, name=process, reason=_(reason))

    def settled(self, services: list[ServiceStatus]) -> None:
        """Where everything is reached."""
        ready = {each.name: each.address for each in services if each.state == "ready"}
        if not ready:
            self.failed = True
            self.all_failed()
            return
        with in_language(self._language):
            for name, text in ADDRESSES.items():
                if name in ready:
                    self._screen.say(text, style="bold", address=ready[name])
            self._screen.say("ready; Ctrl-C stops everything, and so does rwkv-rag down")

    def stopping(self, jobs: list[str]) -> None:
        """What goes on after the end."""
        with in_language(self._language):
            self._screen.note("stopping; a second Ctrl-C stops at once")
            for job in jobs:
                self._screen.note(
                    "fine-tuning {job} goes on by itself; follow it with rwkv-rag tune show {job}",
                    style="yellow",
                    job=job,
                )


def _running(here: Session, *, quiet: bool = False) -> Running | None:
    """The services of the home; where none run, says so unless `quiet`."""
    from rwkv_rag.run_directory import running

    home = here.settings.home
    found = running(home)
    if found is None and not quiet:
        here.screen.say("nothing runs on {home}; start it with rwkv-rag up", home=home)
    return found


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
    stopping = False

    def stop(*args: object) -> None:
        nonlocal stopping
        running.kill() if stopping else running.stop()
        stopping = True

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = [(number, signal.signal(number, stop)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
