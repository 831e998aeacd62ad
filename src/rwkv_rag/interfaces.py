"""The Protocols between the modules; an object may be in this process or behind a service.

Knows the values of `types` and the exceptions of `errors`, and no implementation. All methods are
blocking and safe to call from one thread at a time; iterators are lazy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from rwkv_rag.errors import Message
from rwkv_rag.types import (
    Chunk,
    Delta,
    Document,
    DocumentInfo,
    EmbeddingModel,
    Hit,
    IndexEvent,
    KnowledgeBase,
    Reading,
    Sampling,
    ServiceStatus,
    TunedInfo,
    TuneEstimate,
    TuneJob,
    TuneSettings,
    Writer,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SearchStage = Literal["lexical", "dense", "fused", "reranked"]


class Generator(Protocol):
    """Text continuation by a language model."""

    @property
    def name(self) -> str:
        """The model's name, for people."""

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` takes; what a prompt budget is counted in."""

    def generate(
        self,
        prompt: str,
        *,
        sampling: Sampling,
        max_tokens: int,
        stop: Sequence[str] = (),
        sources: Sequence[str] | None = None,
        refusal: str = "",
    ) -> Iterator[Delta]:
        """Stream the continuation of `prompt`.

        With `sources`, decoding is grounded: the whole answer is a verbatim span of one source, or
        exactly `refusal` (when not empty). The last delta has `finish` and, if grounded, `span`.
        """


class Embedder(Protocol):
    """Text to unit-length vectors, float32 of shape (len(texts), dimension)."""

    @property
    def model(self) -> EmbeddingModel:
        """Which model makes the vectors; knowledge bases are bound to `model.id`."""

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of passages, with the model's document prefix."""

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of questions, with the model's query prefix."""


class Reranker(Protocol):
    """How well a text answers a query."""

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        """One score in 0..1 for each text; higher is better."""


class Reader(Protocol):
    """Finds the answer to a question as a span of a passage."""

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        """The best span of each passage, None where the passage has no text."""


class Knowledge(Protocol):
    """Knowledge bases: documents in, ranked hits out."""

    def create(self, name: str, *, chunk_size: int = 400, chunk_overlap: int = 60) -> KnowledgeBase:
        """Make an empty knowledge base. Raises InputError (bad name or sizes) or AlreadyExists."""

    def delete(self, name: str) -> None:
        """Remove a knowledge base and everything in it. Raises NotFound."""

    def bases(self) -> list[KnowledgeBase]:
        """All knowledge bases by name."""

    def base(self, name: str) -> KnowledgeBase:
        """One knowledge base. Raises NotFound with the names that exist."""

    def documents(self, name: str) -> list[DocumentInfo]:
        """The documents of a knowledge base by name."""

    def document(self, name: str, document: str) -> Document:
        """A stored document with its text. Raises NotFound."""

    def remove(self, name: str, document: str) -> None:
        """Remove one document from the base and from every index. Raises NotFound."""

    def index(
        self, name: str, paths: Sequence[Path], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[IndexEvent]:
        """Read files and directories into the base, lazily, one document a transaction."""

    def add(self, name: str, documents: Sequence[Document]) -> Iterator[IndexEvent]:
        """Index documents already in memory."""

    def search(
        self, name: str, query: str, *, top_k: int = 5, stage: SearchStage = "reranked"
    ) -> list[Hit]:
        """The best chunks for `query`, as ranked at `stage`."""

    def chunk(self, name: str, chunk_id: str) -> Chunk:
        """A stored chunk. Raises NotFound."""

    def verify(self, name: str) -> list[Message]:
        """Every way in which stored data contradicts itself; empty when index = truth."""

    def rebuild(self, name: str) -> None:
        """Make the indexes anew from the stored documents. Raises NotFound."""


class Tuner(Protocol):
    """Fine-tuning jobs; each runs in a process of its own and outlives its caller."""

    def estimate(self, settings: TuneSettings) -> TuneEstimate:
        """What `settings` would need on this machine. Raises InputError for what cannot be run."""

    def start(self, settings: TuneSettings) -> TuneJob:
        """Check everything, then begin. Raises InputError where data, base or memory do not fit."""

    def jobs(self) -> list[TuneJob]:
        """All jobs, the newest first."""

    def job(self, id: str) -> TuneJob:
        """One job. Raises NotFound."""

    def stop(self, id: str) -> None:
        """Have a job write a checkpoint and end."""

    def resume(self, id: str) -> TuneJob:
        """Go on from the last checkpoint of a job that does not run. Raises InputError."""

    def forget(self, id: str) -> None:
        """Delete a job that does not run, not its result. Raises InputError for one that runs."""

    def metrics(self, id: str) -> list[Mapping[str, float]]:
        """Step, loss, lr, tokens_per_s of every step so far."""

    def logs(self, id: str) -> str:
        """What the job's process wrote."""


class Models(Protocol):
    """Which models can write, and what was tuned on each."""

    def writers(self) -> list[Writer]:
        """The models that can write as they are; the first is the one in use when none is named."""

    def tuned(self, model: str) -> list[TunedInfo]:
        """The states and adapters that fit `model` (a `Writer.model`), by name."""

    def writer(self, model: str, tuned: str) -> Writer:
        """The model that writes for `model` and `tuned`; empty: as the service is set up.

        Raises NotFound, ModelMismatch or CorruptData.
        """


class Supervision(Protocol):
    """The services that run: their status, restart and end."""

    def status(self) -> list[ServiceStatus]:
        """Every service that is enabled, in the order of starting."""

    def restart(self, service: str) -> Iterator[ServiceStatus]:
        """Give a service new workers, from the configuration as it is now.

        Its workers finish their requests first; new requests wait until the new workers are ready.
        Other services are not affected.

        Raises NotFound for a service that is not there.
        """

    def stop(self) -> None:
        """Stop everything, in order; returns at once."""
