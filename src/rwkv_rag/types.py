"""The values that travel between modules: documents, chunks, hits, answers. Knows no behaviour.

Character offsets are half-open and count Unicode code points of `Document.text`, as Python does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rwkv_rag.errors import Message

Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a paged document: its number as viewers count (from 1), its characters."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """A source as plain text. `name` is unique in its base; `sha256` is of the source's bytes."""

    name: str
    text: str
    sha256: str
    media_type: str = "text/plain"
    pages: tuple[Page, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a document: `text == document.text[start:end]`, always.

    `heading` is the path of headings above it ("三、质保 > 换货"), `page` where it starts.
    """

    id: str
    document: str
    index: int
    start: int
    end: int
    text: str
    page: int | None = None
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that search found.

    `score` orders the hits of one search and is comparable only within it. `relevance` in 0..1 is
    comparable between searches: it is what the refusal threshold is measured on.
    """

    chunk: Chunk
    score: float
    relevance: float = 0.0
    pages: tuple[Page, ...] = ()


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A named collection of documents, bound to one embedding model and one way of splitting."""

    name: str
    chunk_size: int
    chunk_overlap: int
    embedding_model: str
    documents: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """What a knowledge base knows of a document without its text."""

    name: str
    sha256: str
    media_type: str
    characters: int
    chunks: int
    pages: int


@dataclass(frozen=True, slots=True)
class IndexEvent:
    """Progress of indexing. `done` and `total` count documents; chunks are this document's.

    `stage` is what just happened to `document`; `reason` is set when it was skipped.
    """

    stage: Literal["reading", "embedding", "indexed", "unchanged", "replaced", "skipped"]
    document: str
    done: int
    total: int
    chunks_done: int = 0
    chunks_total: int = 0
    reason: Message | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """What binds stored vectors to the model that made them, and how far search may trust them.

    `fusion_weight` is what a cosine counts beside the lexical score (at most 1), as measured on
    rows held back from training. `similarity_floor` is the cosine under which a hit that only
    the dense path found counts as not relevant.
    """

    id: str
    dimension: int
    query_prefix: str = ""
    document_prefix: str = ""
    fusion_weight: float = 1.0
    similarity_floor: float = 0.5


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn; `temperature` 0 is greedy, the penalties are RWKV's."""

    temperature: float = 1.0
    top_p: float = 0.3
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_decay: float = 0.996
    seed: int | None = None


GREEDY = Sampling(temperature=0.0)


@dataclass(frozen=True, slots=True)
class SourceSpan:
    """Characters `start:end` of source number `source` (from 0) of those given to a request."""

    source: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of generated text. The last one carries `finish`, and in grounded decoding the `span`
    of the whole answer in the sources (None with finish "refusal")."""

    text: str
    finish: Literal["", "stop", "length", "refusal"] = ""
    span: SourceSpan | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """The reader's best answer in a passage; `margin` > 0: likelier than "not answered here"."""

    span: SourceSpan
    margin: float


@dataclass(frozen=True, slots=True)
class Turn:
    """One question of the conversation so far and its answer."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Citation:
    """Proof of an answer or a part: `quote == document.text[start:end]`, checked beforehand."""

    document: str
    page: int | None
    start: int
    end: int
    quote: str
    chunk: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer. `note` says in the user's language how it was made where that matters."""

    text: str
    refused: bool
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    query: str = ""
    note: str = ""


TuneMethod = Literal["full", "lora", "pissa", "miss", "state"]
JobStatus = Literal["waiting", "running", "stopped", "interrupted", "failed", "done"]


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """One fine-tuning as the user asks for it; what is None follows the method or the machine.

    name            what the result is called
    base            "builtin" or the path of a checkpoint
    data            training rows: .jsonl, or the .bin of a binidx pair
    scored          what the loss counts: the answers, or every token
    steps           optimiser steps; `epochs` (> 0) takes their place: whole passes over the rows
    batch           rows a step and device; `accumulate` as many forward passes make one step
    context         tokens of a row that are read; longer rows are cut into pieces
    chunk           > 0: infinite context: rows are read in segments of so many tokens, with the
                    state carried over and the gradient cut between them
    lr, lr_final    first and last learning rate
    parts           which parts adapters reach: "att", "ffn", "low_rank"
    held_out        share of the rows that is never trained on but measured
    """

    name: str
    data: Path
    method: TuneMethod = "state"
    base: str = "builtin"
    scored: Literal["answers", "all"] = "answers"
    skip_bad: bool = False
    steps: int = 200
    epochs: float = 0.0
    batch: int = 4
    accumulate: int = 1
    context: int = 512
    chunk: int = 0
    lr: float | None = None
    lr_final: float | None = None
    schedule: Literal["cosine", "wsd"] = "cosine"
    warmup: int = 10
    weight_decay: float = 0.0
    clip: float = 1.0
    rank: int = 16
    alpha: float | None = None
    parts: tuple[str, ...] = ("att", "ffn")
    held_out: float = 0.1
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    quantization: Literal["none", "int8", "nf4"] = "none"
    checkpointing: bool = False
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    seed: int = 0
    save_every_s: float = 60.0
    wandb: Literal["off", "offline", "online"] = "off"
    wandb_project: str = "rwkv-rag"


@dataclass(frozen=True, slots=True)
class TuneJob:
    """A fine-tuning and how far it is. `loss` is the last step's, `reason` why it failed.

    `memory_bytes` is the most the process held so far; `eta_s` the time still to go.
    """

    id: str
    settings: TuneSettings
    status: JobStatus
    created: str
    step: int = 0
    steps: int = 0
    loss: float | None = None
    tokens_per_s: float = 0.0
    eta_s: float | None = None
    lr: float = 0.0
    memory_bytes: int = 0
    reason: Message | None = None
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class TuneEstimate:
    """What a fine-tuning is expected to need. `cheaper` names settings that would fit, if any."""

    memory_bytes: int
    available_bytes: int
    trainable: int
    seconds: float | None = None
    cheaper: tuple[Message, ...] = ()

    @property
    def fits(self) -> bool:
        return self.memory_bytes <= self.available_bytes


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that writes. `model` is what `Settings.model` is to be for it, `name` is for people.

    tuned   the state or adapter it writes with; empty for the model as it came
    own     the user's own checkpoint: it writes strict answers too, copying from the passages;
            those of any other are the reader's
    writes  whether it is good enough for answers in its own words
    label   what free answers say they were written with; empty for a model as it came
    """

    name: str
    model: str
    tuned: str = ""
    own: bool = False
    writes: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class TunedInfo:
    """A tuned state or adapter, as a list shows it; losses in nats per token, if known."""

    name: str
    kind: Literal["state", "adapter", "model"]
    method: str
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker as its router sees it; its last message came `heard_s` ago.

    `facts` are what it reports of itself: "memory_bytes", "model", "device", "pid", ….
    """

    name: str
    slots: int
    in_flight: int
    served: int
    heard_s: float
    facts: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """A router's queue: requests waiting by priority, and how long the last thousand took."""

    service: str
    waiting: Mapping[str, int]
    in_flight: int
    served: int
    failed: int
    latency_s: Mapping[str, float]
    workers: tuple[WorkerStatus, ...] = ()


ServiceState = Literal["starting", "ready", "restarting", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service as its supervisor sees it. `queue` is None for api and ui, which have none."""

    name: str
    state: ServiceState
    address: str
    restarts: int = 0
    memory_bytes: int = 0
    reason: Message | None = None
    queue: QueueStatus | None = None
