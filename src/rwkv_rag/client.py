"""What commands, pages and the HTTP API work with: an object for every Protocol of a home.

    with app.open_client(settings) as client:
        for event in client.pipeline().answer("公司年假有几天？", kb="handbook"):
            …

The objects may be used from any thread, whether a running service answers for them or this process;
nothing is loaded before it is used. Knows transports and Protocols, and no implementation.
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
from rwkv_rag.services import contracts
from rwkv_rag.services.remote import remote
from rwkv_rag.types import Writer

if TYPE_CHECKING:
    from rwkv_rag.bus.transport import Transport
    from rwkv_rag.rag.answering import Answerer
    from rwkv_rag.rag.pipeline import Pipeline
    from rwkv_rag.tuning.from_knowledge import RowEvent


class Client:
    """The objects of one home.

    knowledge, tuner, models, embedder, reranker, reader    as their Protocols say
    supervision     of `rwkv-rag up` where it runs on this home, else None
    connected       whether running services are used
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
        """Over transports to the three services.

        writing         to another llm service that writes the answers
        control         to the supervisor
        sends_files     the index service cannot read files of this machine: send their text
        model, tuned    the default of `writer`; empty: as the service is set up
        close           closes what is behind the transports
        """
        self._writing = writing or llm
        self.knowledge: Knowledge = remote(contracts.KNOWLEDGE, index)
        if sends_files:
            from rwkv_rag.knowledge.sending import sending

            self.knowledge = sending(self.knowledge)
        self.tuner: Tuner = remote(contracts.TUNER, tuning)
        self.models: Models = remote(contracts.MODELS, self._writing)
        self.embedder: Embedder = remote(contracts.EMBEDDER, llm)
        self.reranker: Reranker = remote(contracts.RERANKER, llm)
        self.reader: Reader = remote(contracts.READER, llm)
        self.supervision: Supervision | None = (
            remote(contracts.SUPERVISION, control) if control else None
        )
        self.connected = connected
        self.writes_here = writing is not None
        self._default = model, tuned
        self._close = close

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close files and connections; calls under way fail."""
        self._close()

    def writer(self, model: str = "", tuned: str = "") -> Writer:
        """The model that writes for these names; see `interfaces.Models.writer`.

        Without a model it is the one the user's settings name, or the running service's own.
        """
        if not model:
            model, tuned = self._default[0], tuned or self._default[1]
        return self.models.writer(model, tuned)

    def generator(self, writer: Writer | None = None) -> Generator:
        """The model that writes, loaded now; the default `writer` if none is given.

        Raises NotFound, ModelMismatch, CorruptData or UnsupportedModel.
        """
        writer = writer or self.writer()
        bound = {"model": writer.model, "tuned": writer.tuned}
        generator: Generator = remote(contracts.GENERATOR, self._writing, bound)
        _ = generator.name  # loads the model, so that its errors are raised here
        return generator

    def answerer(
        self, writer: Writer | None = None, *, generator: Generator | None = None
    ) -> Answerer:
        """What answers from given passages, with the strategy its models were measured best at.

        Strict answers are the reader's unless the model is the user's own. `generator` takes the
        place of the one for `writer`. Raises as `generator`.
        """
        from rwkv_rag.rag.answering import Answerer

        writer = writer or self.writer()
        if not writer.writes:
            generator = None
        elif generator is None:
            generator = self.generator(writer)
        return Answerer(models.answering(writer), reader=self.reader, generator=generator)

    def pipeline(
        self, writer: Writer | None = None, *, generator: Generator | None = None
    ) -> Pipeline:
        """What answers questions from knowledge bases. Arguments and errors as `answerer`."""
        from rwkv_rag.rag.pipeline import Pipeline

        answerer = self.answerer(writer, generator=generator)
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

        # The model without anything tuned; None where it cannot write: questions by rule.
        plain = self.models.writer(self.writer().model, "")
        writes = plain.writes and plain.model != FAKE
        return from_knowledge.build(
            self.knowledge,
            kb,
            rows=rows,
            refusals=refusals,
            passages=passages,
            seed=seed,
            generator=self.generator(plain) if writes else None,
            cancelled=cancelled,
        )
