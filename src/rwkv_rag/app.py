"""Composition root: with `builders` and `models`, alone names concrete classes. Heavy imports wait.

`open_client` gives everything that works on a home: the objects of running services where there are
any, else the same services within this process. What changes the shelf of tuned things, measures,
or prepares rows, is a function of its own, and always done here.

`Settings.model` decides: "builtin" is the model in the package, "fake" deterministic stand-ins, and
a path the user's own checkpoint, which replaces the model that writes and nothing else. What
`Settings.tuned` names on the shelf changes that model, or is one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rwkv_rag import models
from rwkv_rag.builders import Service as Service
from rwkv_rag.builders import index_service as index_service
from rwkv_rag.builders import llm_service as llm_service
from rwkv_rag.builders import tuning_service as tuning_service
from rwkv_rag.bus.address import Address
from rwkv_rag.client import Client as Client
from rwkv_rag.config import BUILTIN, FAKE, Settings, running
from rwkv_rag.errors import Busy, InputError
from rwkv_rag.interfaces import Knowledge, Models
from rwkv_rag.services.contracts import KNOWLEDGE, MODELS
from rwkv_rag.services.remote import remote

if TYPE_CHECKING:
    from rwkv_rag.bus.security import PeerSecurity
    from rwkv_rag.bus.transport import Incoming, Transport
    from rwkv_rag.bus.zeromq import ZeroMQ
    from rwkv_rag.evaluation.report import Report
    from rwkv_rag.rwkv.tuned import Tuned
    from rwkv_rag.tuning.dataset import Prepared
    from rwkv_rag.tuning.exports import Written
    from rwkv_rag.tuning.jsonl import Line

EVERYWHERE = ("0.0.0.0", "::")
OFF = "off"
"""As `Settings.connect`: use no service that runs."""


def open_client(settings: Settings) -> Client:
    """What works on `settings.home`, to be closed; may be used from any thread.

    A service that runs does its part: those that `settings.connect` leads to, or that `rwkv-rag up`
    runs on this home. What none does is done in this process, and so is writing with a model of
    the user's own that the running service does not have (`Client.writes_here`).

    Raises Unreachable, NotAllowed, or InputError for an address that is none.
    """
    with ExitStack() as held:
        far = _connections(settings, held)

        def here(service: Service) -> Transport:
            from rwkv_rag.bus.local import Local

            held.callback(service.close)
            return held.enter_context(closing(Local(service.handler)))

        llm = far.get("llm") or here(llm_service(settings))
        index = far.get("index") or here(_beside_others(settings, index_service(settings, llm)))
        tuning = far.get("tuning") or here(tuning_service(settings))
        stranger = "llm" in far and settings.named and not _serves(llm, settings.model)
        return Client(
            llm=llm,
            index=index,
            tuning=tuning,
            writing=here(llm_service(settings)) if stranger else None,
            control=far.get("control"),
            sends_files="index" in far and _is_open(settings, far["index"].front),
            connected=bool(far),
            model=settings.model if settings.named or "llm" not in far else "",
            tuned=settings.tuned,
            close=held.pop_all().close,
        )


def _connections(settings: Settings, held: ExitStack) -> dict[str, ZeroMQ]:
    """A connection to each service that runs and is to be used."""
    found = None if settings.connect else _running(settings.home)
    if settings.connect == OFF or not (settings.connect or found):
        return {}
    from rwkv_rag.bus.zeromq import ZeroMQ

    security = _security(settings, found)

    def connection(front: str, keys: PeerSecurity | None = security) -> ZeroMQ:
        return held.enter_context(closing(ZeroMQ(front, security=keys)))

    if found:
        fronts = dict(found.services)
    else:
        fronts = _as_reached(connection(settings.connect).directory, settings.connect)
    far = {name: connection(front) for name, front in fronts.items()}
    if found:  # the supervisor is asked on this machine only, and asks for no keys
        far["control"] = connection(found.control, None)
    return far


def _as_reached(directory: Mapping[str, str], connect: str) -> dict[str, str]:
    """The addresses in a router's directory as seen by who reached it at `connect`.

    What listens everywhere is found where this one was, and what listens to its own machine only
    is not for those on another.
    """
    near, found = Address.parse(connect), {}
    for name, place in ((name, Address.parse(url)) for name, url in directory.items()):
        if place.host in EVERYWHERE:
            host = near.host if near.scheme == "tcp" else "127.0.0.1"
            found[name] = replace(place, host=host).url
        elif near.loopback or not place.loopback:
            found[name] = place.url
    return found


def _is_open(settings: Settings, index: str) -> bool:
    """Whether other machines reach the index too; it then reads no file that it is told."""
    found = None if settings.connect else _running(settings.home)
    asks_for_keys = bool(settings.key or (found and found.server_key))
    return asks_for_keys or not Address.parse(index).loopback


def _running(home: Path) -> running.Running | None:
    """What `rwkv-rag up` runs on `home`; None where its process is gone."""
    from rwkv_rag.knowledge.locks import FileLock

    found = running.read(home)
    if found is None:
        return None
    lock = FileLock(running.lock_file(home))
    if lock.acquire():
        lock.release()
        return None
    return found


def _security(settings: Settings, found: running.Running | None) -> PeerSecurity | None:
    """The keys to connect with: those given, or this home's own where its services ask for keys."""
    if settings.key is None and not (found and found.server_key):
        return None
    from rwkv_rag.bus.security import PeerSecurity, RouterSecurity

    if settings.key is not None:
        return PeerSecurity.load(settings.key)
    return RouterSecurity.load(settings.home).peer()


def _serves(llm: Transport, model: str) -> bool:
    known: Models = remote(MODELS, llm)
    return any(writer.model == model for writer in known.writers())


def _beside_others(settings: Settings, service: Service) -> Service:
    """The knowledge bases in this process, where another may be the one that changes them."""

    def handle(incoming: Incoming) -> Any:
        way = KNOWLEDGE.ways.get(incoming.method)
        found = None if way is None or way.repeatable else _running(settings.home)
        if found and "index" in found.services:
            raise Busy(
                "the services of process {pid} are in charge of {home}; use them by leaving "
                "out --connect, or end them with `rwkv-rag down`",
                pid=found.pid,
                home=settings.home,
            )
        return service.handler(incoming)

    return replace(service, handler=handle)


def evaluate(
    settings: Settings,
    file: Path,
    *,
    mode: Literal["rag", "gold"],
    pool: Literal["all", "source"] = "all",
    limit: int | None,
    progress: Report,
) -> dict[str, Any]:
    """The report of an evaluation over a file of questions, in a temporary home."""
    from rwkv_rag.evaluation import dataset, report

    with open_client(replace(settings, connect=OFF)) as parts:
        return report.evaluate(
            dataset.read(file, limit),
            mode=mode,
            pool=pool,
            answers="free" if settings.tuned else "strict",
            answerer=parts.answerer(),
            open_knowledge=lambda: _temporary_knowledge(settings),
            progress=progress,
        )


def measure(settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """How fast the model runs on this machine; `progress` is told each stage."""
    if settings.model == FAKE:
        raise InputError("the stand-ins have no speed to measure; give --model FILE")
    from rwkv_rag.rwkv.measure import measure

    return dict(measure(models.base_files(settings.model).model, progress=progress))


def all_tuned(settings: Settings) -> list[Tuned]:
    """Everything on the shelf, by name."""
    return models.shelf(settings).all()


def import_tuned(
    settings: Settings, file: Path, name: str, *, alpha: float | None, first: Path | None
) -> tuple[str, Tuned]:
    """Put another program's state or adapter for `settings.model` on the shelf.

    Gives what the file turned out to be, in words, and what is now on the shelf.
    """
    from datetime import datetime, timezone

    from rwkv_rag.rwkv.checkpoint import load_checkpoint
    from rwkv_rag.rwkv.tuned import Tuned
    from rwkv_rag.tuning import exports, formats

    shelf, files = models.shelf(settings), models.base_files(settings.model)
    shelf.check_free(name)
    base = load_checkpoint(files.model)
    found = formats.read(file, base, alpha=alpha, first=first)
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    tuned = Tuned(
        name,
        found.kind,
        base.sha256,
        files.name,
        "import",
        rank=found.rank,
        alpha=found.alpha,
        parts=found.parts,
        created=made,
    )
    exports.shelve(shelf, found, tuned)
    return found.what, tuned


def export_tuned(settings: Settings, name: str, path: Path) -> Written:
    """Write something from the shelf for other programs."""
    from rwkv_rag.tuning import exports

    return exports.export(models.shelf(settings), name, path)


def merge_tuned(settings: Settings, name: str, path: Path) -> None:
    """Write `settings.model` with a state or adapter from the shelf in it."""
    from rwkv_rag.rwkv.checkpoint import load_checkpoint
    from rwkv_rag.tuning import exports

    files = models.base_files(settings.model)
    vocabulary = None if files.vocabulary == models.WORLD_VOCABULARY else files.vocabulary
    base = load_checkpoint(files.model)
    exports.merge(models.shelf(settings), name, base, path, vocabulary=vocabulary)


def remove_tuned(settings: Settings, name: str) -> None:
    """Take something off the shelf for good."""
    models.shelf(settings).remove(name)


def wandb_login() -> str:
    """What Weights & Biases says of itself here: "logged in", "not logged in" or "missing"."""
    from rwkv_rag.tuning import tracking

    return tracking.wandb_login()


def read_rows(path: Path) -> Iterator[Line]:
    """The rows of a .jsonl file line by line; a line that cannot be trained on says why."""
    from rwkv_rag.tuning import jsonl, rows

    for line in jsonl.read(path):
        try:
            if not line.problem:
                rows.parse(line.value, budget=sys.maxsize, count=len)
        except InputError as error:
            line = replace(line, problem=str(error))
        yield line


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


def magic_prime(prepared: Prepared, context: int) -> int | None:
    """What RWKV-LM's trainer wants to know of a file of tokens, None where it has too few."""
    from rwkv_rag.tuning import binidx

    return binidx.magic_prime(prepared.tokens, context)


def elsewhere(settings: Settings, home: Path) -> Settings:
    """The same settings for a home of its own, with no service that runs."""
    return replace(settings, home=home, catalog=None, chroma=None, connect=OFF)


@contextmanager
def _temporary_knowledge(settings: Settings) -> Iterator[Knowledge]:
    with (
        tempfile.TemporaryDirectory(prefix="rwkv-rag-", ignore_cleanup_errors=True) as home,
        open_client(elsewhere(settings, Path(home))) as parts,
    ):
        yield parts.knowledge
