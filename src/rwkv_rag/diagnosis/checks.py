"""All checks in order, each behind a guard: whatever breaks becomes a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rwkv_rag import app
from rwkv_rag.config import Settings
from rwkv_rag.config.effective import Effective
from rwkv_rag.config.ragq import Ragq
from rwkv_rag.diagnosis import computer, configuration, data, extras, model, services, stored
from rwkv_rag.diagnosis.finding import Finding, fail, ok
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import N_


def findings(load: Callable[[], Effective]) -> Iterator[Finding]:
    """Look at everything; a finding comes as soon as it is known. Never raises an Exception."""
    yield from guarded("python", computer.python)
    torch = list(guarded("torch", computer.torch))
    yield from torch
    computes = all(finding.state != "fail" for finding in torch)
    if computes:
        yield from guarded("memory", computer.memory)
    yield from guarded("extras", extras.extras)
    try:
        effective = load()
    except RagError as error:
        yield fail("settings", N_("{why}"), why=error)
        return
    yield from guarded("settings", lambda: configuration.configuration(effective))
    yield from _of_settings(effective.settings, effective.ragq, computes)


def _of_settings(settings: Settings, ragq: Ragq, computes: bool) -> Iterator[Finding]:
    home = settings.home
    yield from guarded("disk", lambda: computer.disk(home))
    yield from guarded("clock", lambda: computer.clock(home))
    yield from guarded("data", lambda: data.home(home))
    yield from guarded("keys", lambda: data.keys(home))
    if computes:
        yield from guarded("model", lambda: model.model(settings))
    if home.is_dir():  # nothing is made by looking
        yield from guarded("services", lambda: _parts(settings, ragq))
    else:
        yield from guarded("ports", lambda: configuration.free_ports(ragq))


def _parts(settings: Settings, ragq: Ragq) -> Iterator[Finding]:
    with app.open_client(settings) as parts:
        yield from guarded("services", lambda: services.services(parts.supervision, ragq))
        catalog = settings.catalog or settings.home / "catalog.sqlite3"
        if parts.connected or catalog.exists():
            yield from guarded("knowledge", lambda: stored.bases(parts.knowledge, parts.embedder))
        else:
            yield ok("knowledge", stored.NOTHING)
        if parts.connected or (settings.home / "jobs").is_dir():
            yield from guarded("tuning", lambda: stored.jobs(parts.tuner))


def guarded(about: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a check finds; what breaks it is the last thing found."""
    try:
        yield from check()
    except RagError as error:
        yield fail(about, N_("{why}"), why=error)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        yield fail(about, N_("this check itself failed: {why}"), N_("please report it"), why=why)
