"""All checks in order. What breaks a check becomes a finding, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rwkv_rag import app
from rwkv_rag.config import Settings
from rwkv_rag.config.effective import Effective
from rwkv_rag.config.ragq import Ragq
from rwkv_rag.diagnosis import computer, data, extras, model, services
from rwkv_rag.diagnosis.finding import Finding, fail, ok
from rwkv_rag.errors import RagError
from rwkv_rag.i18n import N_


def findings(load: Callable[[], Effective]) -> Iterator[Finding]:
    """Look at everything; a finding comes as soon as it is known. Never raises an Exception."""
    yield from _guarded("python", computer.python)
    torch = list(_guarded("torch", computer.torch))
    yield from torch
    computes = all(finding.state != "fail" for finding in torch)
    if computes:
        yield from _guarded("memory", computer.memory)
    yield from _guarded("extras", extras.extras)
    try:
        effective = load()
    except RagError as error:
        yield fail("settings", "{why}", why=error)
        return
    if effective.file:
        yield ok("settings", "{file} can be used", file=effective.file)
    else:
        yield ok("settings", "no ragq.yml; the defaults count")
    yield from _of_settings(effective.settings, effective.ragq, computes)


def _of_settings(settings: Settings, ragq: Ragq, computes: bool) -> Iterator[Finding]:
    home = settings.home
    yield from _guarded("disk", lambda: computer.disk(home))
    yield from _guarded("clock", lambda: computer.clock(home))
    yield from _guarded("data", lambda: data.home(home))
    yield from _guarded("keys", lambda: data.keys(home))
    if computes:
        yield from _guarded("model", lambda: model.model(settings))
    if home.is_dir():  # nothing is made by looking
        yield from _guarded("services", lambda: _of_client(settings, ragq))
    else:
        yield from _guarded("ports", lambda: services.free_ports(ragq))


def _of_client(settings: Settings, ragq: Ragq) -> Iterator[Finding]:
    with app.open_client(settings) as client:
        yield from _guarded("services", lambda: services.services(client.supervision, ragq))
        catalog = settings.catalog or settings.home / "catalog.sqlite3"
        if client.connected or catalog.exists():
            yield from _guarded("knowledge", lambda: data.bases(client.knowledge, client.embedder))
        else:
            yield data.NO_BASE
        if client.connected or (settings.home / "jobs").is_dir():
            yield from _guarded("tuning", lambda: data.jobs(client.tuner))


def _guarded(about: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a check finds; what breaks it is the last finding."""
    try:
        yield from check()
    except RagError as error:
        yield fail(about, "{why}", why=error)
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        yield fail(about, "this check itself broke: {why}", N_("please report it"), why=why)
