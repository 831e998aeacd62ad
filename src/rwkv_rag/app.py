"""Composition root: `open_client` puts together what works on a home.

With `builders` and `models`, alone names concrete classes; heavy libraries are imported within
functions.

`Settings.model` decides: "builtin" is the model in the package, "fake" deterministic stand-ins, and
a path the user's own checkpoint, which replaces the model that writes and nothing else. What
`Settings.tuned` names changes that model, or is one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rwkv_rag import builders, models, run_directory
from rwkv_rag.bus.address import Address
from rwkv_rag.client import Client as Client
from rwkv_rag.config import BUILTIN, FAKE, Settings
from rwkv_rag.errors import Busy
from rwkv_rag.interfaces import Knowledge, Models
from rwkv_rag.services.contracts import KNOWLEDGE, MODELS
from rwkv_rag.services.remote import remote

if TYPE_CHECKING:
    from rwkv_rag.bus.client import QueueClient
    from rwkv_rag.bus.security import PeerSecurity
    from rwkv_rag.bus.transport import Transport
    from rwkv_rag.tuning.dataset import Prepared

ALL_INTERFACES = ("0.0.0.0", "::")
OFF = "off"
"""As `Settings.connect`: use no running service."""


def open_client(settings: Settings) -> Client:
    """The objects that work on `settings.home`, to be closed; may be used from any thread.

    Running services are used where there are any: those that `settings.connect` leads to, or that
    `rwkv-rag up` runs on this home. The others are built in this process, and so is an llm service
    for writing with a model of the user's own that the running one does not have.

    Raises Unreachable, NotAllowed, or InputError for an address that is none.
    """
    with ExitStack() as held:
        running = None if settings.connect else run_directory.running(settings.home)
        remotes = _connections(settings, running, held)

        def local(service: builders.Service) -> Transport:
            from rwkv_rag.bus.local import Local

            held.callback(service.close)
            return held.enter_context(closing(Local(service.handler)))

        llm = remotes.get("llm") or local(builders.llm_service(settings))
        index = remotes.get("index") or local(
            builders.index_service(settings, llm, _refuse_changes_of(settings.home))
        )
        tuning = remotes.get("tuning") or local(builders.tuning_service(settings))
        writes_here = "llm" in remotes and settings.named and not _serves(llm, settings.model)
        with_keys = bool(settings.key or (running and running.server_key))
        return Client(
            llm=llm,
            index=index,
            tuning=tuning,
            writing=local(builders.llm_service(settings)) if writes_here else None,
            control=remotes.get("control"),
            # An index that other machines reach too reads no files; it is sent documents.
            sends_files="index" in remotes
            and (with_keys or not Address.parse(remotes["index"].front).loopback),
            connected=bool(remotes),
            model=settings.model if settings.named or "llm" not in remotes else "",
            tuned=settings.tuned,
            close=held.pop_all().close,
        )


def _connections(
    settings: Settings, running: run_directory.Running | None, held: ExitStack
) -> dict[str, QueueClient]:
    """A connection to each running service that is to be used."""
    if settings.connect == OFF or not (settings.connect or running):
        return {}
    from rwkv_rag.bus.client import QueueClient

    security = _security(settings, running)

    def connection(front: str, keys: PeerSecurity | None = security) -> QueueClient:
        return held.enter_context(closing(QueueClient(front, security=keys)))

    if running is None:
        directory = connection(settings.connect).directory
        fronts = _reachable(directory, settings.connect)
        return {name: connection(front) for name, front in fronts.items()}
    remotes = {name: connection(front) for name, front in running.services.items()}
    # The supervisor is reached on this machine only, without keys.
    return {**remotes, "control": connection(running.control, None)}


def _reachable(directory: Mapping[str, str], connect: str) -> dict[str, str]:
    """The addresses in a router's directory as a client reaches them that found it at `connect`.

    What listens on all interfaces is where that router is; what listens on its own machine only
    cannot be reached from another.
    """
    router, found = Address.parse(connect), {}
    for name, address in ((name, Address.parse(url)) for name, url in directory.items()):
        if address.host in ALL_INTERFACES:
            host = router.host if router.scheme == "tcp" else "127.0.0.1"
            found[name] = replace(address, host=host).url
        elif router.loopback or not address.loopback:
            found[name] = address.url
    return found


def _security(settings: Settings, running: run_directory.Running | None) -> PeerSecurity | None:
    """The keys to connect with: those given, or this home's own where its services have keys."""
    if settings.key is None and not (running and running.server_key):
        return None
    from rwkv_rag.bus.security import PeerSecurity, RouterSecurity

    if settings.key is not None:
        return PeerSecurity.load(settings.key)
    return RouterSecurity.load(settings.home).peer()


def _serves(llm: Transport, model: str) -> bool:
    known: Models = remote(MODELS, llm)
    return any(writer.model == model for writer in known.writers())


def _refuse_changes_of(home: Path) -> Callable[[str], None]:
    """A check for knowledge bases in this process: while an index service runs on the same home,
    only that service may change them."""

    def check(method: str) -> None:
        if KNOWLEDGE.policies[method].repeatable:
            return
        running = run_directory.running(home)
        if running and "index" in running.services:
            raise Busy(
                "the services of process {pid} are in charge of {home}; use them by leaving "
                "out --connect, or end them with `rwkv-rag down`",
                pid=running.pid,
                home=home,
            )

    return check


def prepare_rows(
    settings: Settings,
    source: Path,
    prefix: Path,
    *,
    scored: Literal["answers", "all"] = "answers",
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Training rows as tokens of the vocabulary that belongs to the model."""
    from rwkv_rag.rwkv.tokenizer import Tokenizer
    from rwkv_rag.tuning.dataset import prepare

    model = BUILTIN if settings.model == FAKE else settings.model
    tokenizer = Tokenizer.from_file(models.base_files(model).vocabulary)
    return prepare(
        source, prefix, tokenizer, scored=scored, skip_bad=skip_bad, progress=progress,
        vocabulary=_vocabulary_size(settings, tokenizer.vocab_size),
    )  # fmt: skip


def _vocabulary_size(settings: Settings, tokens: int) -> int:
    """How many ids the model knows: at least as many as its vocabulary has."""
    from rwkv_rag.rwkv.checkpoint import load_checkpoint

    if settings.model == FAKE:
        return tokens
    return load_checkpoint(models.base_files(settings.model).model).shape.vocab


def elsewhere(settings: Settings, home: Path) -> Settings:
    """The same settings for a home of its own, with no service that runs."""
    return replace(settings, home=home, catalog=None, chroma=None, connect=OFF)


@contextmanager
def temporary_knowledge(settings: Settings) -> Iterator[Knowledge]:
    """Empty knowledge bases that are gone at the end of the block."""
    with (
        tempfile.TemporaryDirectory(prefix="rwkv-rag-", ignore_cleanup_errors=True) as home,
        open_client(elsewhere(settings, Path(home))) as client,
    ):
        yield client.knowledge
