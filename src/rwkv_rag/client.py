"""What commands, pages and the HTTP API work with: every Protocol's object, wherever it lives.

    with app.open_client(settings) as parts:
        for event in parts.pipeline().answer("公司年假有几天？", kb="handbook"):
            …

All of it may be used from any thread without a lock: objects made for one caller at a time take
turns behind their transport. Nothing is loaded before it is used. Knows transports and Protocols,
and no implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rwkv_rag import models
from rwkv_rag.config import FAKE
from rwkv_rag.interfaces import (
    Embedder,
    Generator,
    Knowledge,
    Models,
    Reader,
    Reranker,
    Supervision,
    Tuner,
)
from rwkv_rag.services.contracts import (
    EMBEDDER,
    GENERATOR,
    KNOWLEDGE,
    MODELS,
    READER,
    RERANKER,
    SUPERVISION,
    TUNER,
)
from rwkv_rag.services.remote import remote
from rwkv_rag.types import Writer

if TYPE_CHECKING:
    from rwkv_rag.bus.transport import Transport
    from rwkv_rag.rag.answering import Answerer
    from rwkv_rag.rag.pipeline import Pipeline
    from rwkv_rag.tuning.from_knowledge import RowEvent

Lend = Callable[[Generator], Generator]


class Client:
    """The objects of one home: those of running services, or of this process.

    knowledge, tuner, models, embedder, reranker, reader    as their Protocols say
    supervision     of `rwkv-rag up` where it runs on this home, else None
    connected       whether services that run are used
    writes_here     whether this process writes answers because no service has the model asked for
    """

    def __init__(
        self,
        *,
        llm: Transport,
        index: Transport,
        tuning: Transport,
        writing: Transport | None = None,
        control: Transport | None = None,
        sends_files: bool = False,
        connected: bool = False,
        model: str = "",
        tuned: str = "",
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Transports to the three services; `writing` to another that writes answers than `llm`,
        `control` to the supervisor.

        `sends_files`: the index service is on another machine, and cannot read files of this one.
        `model` and `tuned` are who writes when nobody is named; empty: as the service is set up.
        `close` lets go of what is behind the transports.
        """
        self._writing = writing or llm
        self.knowledge: Knowledge = remote(KNOWLEDGE, index)
        if sends_files:
            from rwkv_rag.knowledge.sending import sending

            self.knowledge = sending(self.knowledge)
        self.tuner: Tuner = remote(TUNER, tuning)
        self.models: Models = remote(MODELS, self._writing)
        self.embedder: Embedder = remote(EMBEDDER, llm)
        self.reranker: Reranker = remote(RERANKER, llm)
        self.reader: Reader = remote(READER, llm)
        self.supervision: Supervision | None = remote(SUPERVISION, control) if control else None
        self.connected = connected
        self.writes_here = writing is not None
        self._default = model, tuned
        self._close = close

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and connections; what is under way fails."""
        self._close()

    def writer(self, model: str = "", tuned: str = "") -> Writer:
        """Who writes with `model` (a `Writer.model`) as `tuned`; see `interfaces.Models.writer`.

        Without a model it is the one the user's settings name, or the running service's own.
        """
        if not model:
            model, tuned = self._default[0], tuned or self._default[1]
        return self.models.writer(model, tuned)

    def generator(self, model: str = "", tuned: str = "") -> Generator:
        """The model that writes as `writer` says, loaded now.

        Raises NotFound, ModelMismatch, CorruptData or UnsupportedModel.
        """
        return self._generator(self.writer(model, tuned))

    def answerer(self, model: str = "", tuned: str = "", *, lend: Lend | None = None) -> Answerer:
        """What answers from given passages, in the way its models were measured best at.

        Strict answers are the reader's unless the model is the user's own. `lend` may put something
        before the generator that writes. Raises as `generator`.
        """
        from rwkv_rag.rag.answering import Answerer

        writer = self.writer(model, tuned)
        generator = self._generator(writer) if writer.writes else None
        if lend and generator:
            generator = lend(generator)
        return Answerer(models.answering(writer), reader=self.reader, generator=generator)

    def pipeline(self, model: str = "", tuned: str = "", *, lend: Lend | None = None) -> Pipeline:
        """What answers questions from knowledge bases. Arguments and errors as `answerer`."""
        from rwkv_rag.rag.pipeline import Pipeline

        answerer = self.answerer(model, tuned, lend=lend)
        return Pipeline(self.knowledge, answerer, check_documents=True)

    def training_rows(
        self,
        kb: str,
        *,
        rows: int = 200,
        refusals: float = 0.2,
        passages: int = 3,
        seed: int = 0,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[RowEvent]:
        """Training rows from a knowledge base; the model writes the questions if it can write."""
        from rwkv_rag.tuning import from_knowledge

        return from_knowledge.build(
            self.knowledge,
            kb,
            rows=rows,
            refusals=refusals,
            passages=passages,
            seed=seed,
            generator=self._question_writer(),
            cancelled=cancelled,
        )

    def _generator(self, writer: Writer) -> Generator:
        bound = {"model": writer.model, "tuned": writer.tuned}
        generator: Generator = remote(GENERATOR, self._writing, bound)
        _ = generator.name  # what is wrong with a model is said at once
        return generator

    def _question_writer(self) -> Generator | None:
        """The model as it came, where it writes; None: questions are made by rule."""
        plain = self.models.writer(self.writer().model, "")
        return self._generator(plain) if plain.writes and plain.model != FAKE else None
