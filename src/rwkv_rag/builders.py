"""Builds the three services: their objects behind a handler, loaded when first called.

The same service runs in a worker process or within the process that uses it. Like `app` and
`models`, names concrete classes, which no other module does. Knows no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from rwkv_rag import models
from rwkv_rag.config import FAKE, Settings
from rwkv_rag.errors import NotAllowed, RagError
from rwkv_rag.interfaces import Embedder, Generator, Knowledge, Reader, Reranker, Tuner
from rwkv_rag.services import contracts
from rwkv_rag.services.remote import remote
from rwkv_rag.services.serve import Export, FairLock, serve

if TYPE_CHECKING:
    from rwkv_rag.bus.transport import Handler, Transport
    from rwkv_rag.encoders.manifest import Reading
    from rwkv_rag.encoders.weighed import WeighedReader
    from rwkv_rag.types import Language

Facts = Mapping[str, str | int | float]


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Service:
    """A service without its transport.

    handler     answers its calls, from any number of threads
    warm        loads what the first call would have to wait for; raises what is wrong with it
    facts       what it reports of itself now: "model", "tuned", "device"
    close       closes files; no call may be under way
    """

    handler: Handler
    warm: Callable[[], None]
    facts: Callable[[], Facts] = dict
    close: Callable[[], None] = _nothing


def llm_service(settings: Settings) -> Service:
    """The models: writing, vectors, scores, reading; each in memory once.

    Many calls write at once, in the steps of one batch. The other roles share the model in the
    package, and so one lock.
    """
    writers, lock = models.Writers(settings), FairLock()
    embedder, reranker, reader = _roles(settings)

    def generator(model: str = "", tuned: str = "") -> Generator:
        return models.open_generator(settings.home, writers.writer(model, tuned))

    handler = serve(
        {
            "generator": Export(contracts.GENERATOR, opener=generator, bound=("model", "tuned")),
            "models": Export(contracts.MODELS, writers),
            "embedder": Export(contracts.EMBEDDER, opener=embedder, lock=lock),
            "reranker": Export(contracts.RERANKER, opener=reranker, lock=lock),
            "reader": Export(contracts.READER, opener=reader, lock=lock),
        }
    )

    def warm() -> None:
        embedder().embed_queries(["…"])
        reader().read("?", ["…"])
        generator().count_tokens("…")

    def facts() -> Facts:
        with suppress(RagError):
            writer = writers.writer("", "")
            return {"model": writer.name, "tuned": writer.tuned, "device": "cpu"}
        return {"model": settings.model, "device": "cpu"}

    return Service(handler, warm, facts)


def index_service(
    settings: Settings, llm: Transport, check: Callable[[str], None] | None = None
) -> Service:
    """The knowledge bases under `settings.home`; vectors come from the llm service behind `llm`.

    `check` is called with the name of every method and refuses it by raising.
    """
    weight = 0.5 if settings.model == FAKE else models.manifest().rerank_weight
    held = ExitStack()

    @cache
    def library() -> Knowledge:
        from rwkv_rag.knowledge.library import Library

        opened = Library(
            settings.home,
            remote(contracts.EMBEDDER, llm),
            remote(contracts.RERANKER, llm) if weight else None,
            rerank_weight=weight,
            catalog=settings.catalog,
            chroma=settings.chroma,
        )
        return held.enter_context(closing(opened))

    def warm() -> None:
        from rwkv_rag.knowledge import lexical

        library().bases()
        lexical.words("词典")  # reads the dictionary

    export = Export(
        contracts.KNOWLEDGE,
        opener=library,
        lock=FairLock(),
        check=check,
    )
    return Service(serve({"knowledge": export}), warm, close=held.close)


def refuse_files(method: str) -> None:
    """The check of an index that other machines reach: they may send documents, but not have
    files of this machine read. Raises NotAllowed."""
    if method == "index":
        raise NotAllowed(
            "this index is reached from other machines and reads no files of its own; send"
            " the documents (`rwkv-rag index` does)"
        )


def tuning_service(settings: Settings) -> Service:
    """The fine-tuning jobs under `settings.home`; each runs in a process of its own."""

    @cache
    def jobs() -> Tuner:
        from rwkv_rag.tuning.jobs import Jobs

        return Jobs(settings.home, models.base_files)

    def warm() -> None:
        jobs().jobs()

    handler = serve({"tuner": Export(contracts.TUNER, opener=jobs, lock=FairLock())})
    return Service(handler, warm)


def _roles(
    settings: Settings,
) -> tuple[Callable[[], Embedder], Callable[[], Reranker], Callable[[], Reader]]:
    """What opens each role of the model in the package, once."""
    if settings.model == FAKE:
        from rwkv_rag.testing import HashEmbedder, OverlapReader, OverlapReranker

        return cache(HashEmbedder), cache(OverlapReranker), cache(OverlapReader)
    return cache(_embedder), cache(_reranker), cache(_reader)


def _embedder() -> Embedder:
    from rwkv_rag.encoders.embedder import RwkvEmbedder

    return RwkvEmbedder(models.builtin())


def _reranker() -> Reranker:
    """How surely the reader answers from a text, by the signs that were measured to help."""
    from rwkv_rag.encoders.by_answer import AnswerReranker

    manifest = models.manifest()
    weights = manifest.reading if manifest.reranks_by == "answer" else {}
    return AnswerReranker(_weighed(weights).margins)


def _reader() -> Reader:
    return _weighed(models.manifest().reading)


def _weighed(weights: Mapping[Language, Reading]) -> WeighedReader:
    from rwkv_rag.encoders.reader import RwkvReader
    from rwkv_rag.encoders.weighed import WeighedReader

    return WeighedReader(lambda: RwkvReader(models.builtin()), weights)
