"""The three services as a process runs them: their objects behind a handler.

With `app` and `models`, alone names concrete classes. Every service is built here, whether a worker
process serves it or the one that asks has it in itself. Heavy imports wait until an object is
called. Knows no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from rwkv_rag import models
from rwkv_rag.config import FAKE, Settings
from rwkv_rag.errors import NotAllowed, RagError
from rwkv_rag.interfaces import Embedder, Generator, Knowledge, Reader, Reranker, Tuner
from rwkv_rag.services.contracts import (
    EMBEDDER,
    GENERATOR,
    KNOWLEDGE,
    MODELS,
    READER,
    RERANKER,
    TUNER,
)
from rwkv_rag.services.remote import remote
from rwkv_rag.services.serve import Export, serve
from rwkv_rag.services.turns import FairLock

if TYPE_CHECKING:
    from rwkv_rag.bus.transport import Handler, Incoming, Transport
    from rwkv_rag.encoders.manifest import Reading
    from rwkv_rag.encoders.weighed import WeighedReader
    from rwkv_rag.types import Language

Facts = Mapping[str, str | int | float]
MANY = 64  # calls at once where most of them wait: for their turn, or for the next token


@dataclass(frozen=True, slots=True)
class Service:
    """A service at work.

    handler     answers its calls, from any number of threads
    slots       how many calls at once are worth taking
    facts       what it says of itself now: "model", "tuned", "device", …
    warm        loads what the first call would have to wait for; raises what is wrong with it
    close       lets go of files; no call may be under way
    """

    handler: Handler
    slots: int
    facts: Callable[[], Facts]
    warm: Callable[[], None]
    close: Callable[[], None]


def llm_service(settings: Settings) -> Service:
    """The models: writing, vectors, scores, reading; each in memory once.

    Writing takes many calls at once, which step in one batch. The other roles share the model in
    the package and take turns.
    """
    writers, roles, turn = models.Writers(settings), _roles(settings), FairLock()

    def generator(model: str = "", tuned: str = "") -> Generator:
        return models.open_generator(settings, writers.writer(model, tuned))

    handler = serve(
        {
            "generator": Export(GENERATOR, opener=generator, bound=("model", "tuned")),
            "models": Export(MODELS, writers),
            "embedder": Export(EMBEDDER, opener=roles.embedder, turn=turn),
            "reranker": Export(RERANKER, opener=roles.reranker, turn=turn),
            "reader": Export(READER, opener=roles.reader, turn=turn),
        }
    )

    def warm() -> None:
        roles.embedder().embed_queries(["…"])
        roles.reader().read("?", ["…"])
        generator().count_tokens("…")

    def facts() -> Facts:
        with suppress(RagError):
            writer = writers.writer("", "")
            return {"model": writer.name, "tuned": writer.tuned, "device": "cpu"}
        return {"model": settings.model, "device": "cpu"}

    return Service(handler, MANY, facts, warm, lambda: None)


def index_service(settings: Settings, llm: Transport, *, reads_files: bool = True) -> Service:
    """The knowledge bases under `settings.home`; vectors come from the llm service behind `llm`.

    Without `reads_files` it opens no path that it is told, and takes documents only: for a service
    that other machines reach, whose callers must not read the files of this one.
    """
    weight = 0.5 if settings.model == FAKE else models.manifest().rerank_weight
    held = ExitStack()

    @cache
    def library() -> Knowledge:
        from rwkv_rag.knowledge.library import Library

        reranker = remote(RERANKER, llm) if weight else None
        opened = Library(
            settings.home,
            remote(EMBEDDER, llm),
            reranker,
            rerank_weight=weight,
            catalog=settings.catalog,
            chroma=settings.chroma,
        )
        return held.enter_context(closing(opened))

    def warm() -> None:
        from rwkv_rag.knowledge import lexical

        library().bases()
        lexical.words("词典")  # reads the dictionary

    handler = serve({"knowledge": Export(KNOWLEDGE, opener=library, turn=FairLock())})

    def handle(incoming: Incoming) -> Any:
        if incoming.method == "index" and not reads_files:
            raise NotAllowed(
                "this index is reached from other machines and reads no files of its own; send"
                " the documents (`rwkv-rag index` does)"
            )
        return handler(incoming)

    return Service(handle, MANY, dict, warm, held.close)


def tuning_service(settings: Settings) -> Service:
    """The fine-tuning jobs under `settings.home`; each runs in a process of its own."""

    @cache
    def jobs() -> Tuner:
        from rwkv_rag.tuning.jobs import Jobs

        return Jobs(settings.home, models.base_files)

    def warm() -> None:
        jobs().jobs()

    handler = serve({"tuner": Export(TUNER, opener=jobs, turn=FairLock())})
    return Service(handler, MANY, dict, warm, lambda: None)


@dataclass(frozen=True, slots=True)
class _Roles:
    """What opens each role of the model in the package, once."""

    embedder: Callable[[], Embedder]
    reranker: Callable[[], Reranker]
    reader: Callable[[], Reader]


def _roles(settings: Settings) -> _Roles:
    if settings.model == FAKE:
        from rwkv_rag.testing import HashEmbedder, OverlapReader, OverlapReranker

        embedder, reranker, reader = HashEmbedder(), OverlapReranker(), OverlapReader()
        return _Roles(lambda: embedder, lambda: reranker, lambda: reader)
    return _Roles(cache(_embedder), cache(_reranker), cache(_reader))


def _embedder() -> Embedder:
    from rwkv_rag.encoders.embedder import RwkvEmbedder

    return RwkvEmbedder(models.builtin())


def _reranker() -> Reranker:
    """What was measured best: the model's own, or how surely the reader answers from a text."""
    from rwkv_rag.encoders.by_answer import AnswerReranker
    from rwkv_rag.encoders.reranker import RwkvReranker

    by = models.manifest().reranks_by
    if by == "head":
        return RwkvReranker(models.builtin())
    weights = models.manifest().reading if by == "answer" else {}
    return AnswerReranker(_weighed(weights).margins)


def _reader() -> Reader:
    return _weighed(models.manifest().reading)


def _weighed(weights: Mapping[Language, Reading]) -> WeighedReader:
    from rwkv_rag.encoders.reader import RwkvReader
    from rwkv_rag.encoders.weighed import WeighedReader

    return WeighedReader(lambda: RwkvReader(models.builtin()), weights)
