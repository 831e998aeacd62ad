"""`/api/knowledge`: knowledge bases made, shown, searched, asked, checked, rebuilt, deleted.

A streamed answer is {"type": "delta", "text": …} as it is made, and at the end {"type": "answer",
"answer": …, "refused": …, "citations": …, "hits": …, "timings": …}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from rwkv_rag.api.dependencies import STREAMS, Accept, ClientDep, format_of
from rwkv_rag.api.problems import Problem
from rwkv_rag.api.responses import Step, StepsResponse, closing_iterator
from rwkv_rag.api.schemas import Name, Reply, Request, Text
from rwkv_rag.api.v1.models import choose_model
from rwkv_rag.api.v1.schemas import CitationOut
from rwkv_rag.errors import InputError
from rwkv_rag.i18n import _
from rwkv_rag.interfaces import SearchStage
from rwkv_rag.question import checked_question
from rwkv_rag.records import answer_record, hit_record
from rwkv_rag.types import Answer, Delta, DocumentInfo, KnowledgeBase, Turn

router = APIRouter(prefix="/api/knowledge", tags=["Knowledge bases"])


class NewBase(Request):
    """A knowledge base to be made."""

    name: Name = Field(examples=["handbook"])
    chunk_size: int = Field(400, description="Characters of a passage.")
    overlap: int = Field(60, description="Characters that two neighbouring passages share.")


class SearchRequest(Request):
    """What to look for, and how."""

    query: Text = Field(examples=["annual fee"])
    top_k: int = Field(5, ge=1, le=100)
    stage: SearchStage = "reranked"


class EarlierTurn(Request):
    """A question of the conversation so far and its answer."""

    question: Text
    answer: Text = ""


class AskRequest(Request):
    """A question to a knowledge base."""

    question: Text = Field(examples=["What is the annual fee for a plot?"])
    mode: Literal["strict", "free"] = "strict"
    top_k: int | None = Field(None, ge=1, le=100)
    history: list[EarlierTurn] = Field(default=[], max_length=1000)
    model: Name = Field("default", description="MODEL or MODEL:TUNED, as /v1/models lists them.")
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class BaseWithDocuments(KnowledgeBase):
    """A knowledge base with the list of its documents."""

    contents: list[DocumentInfo]


class HitOut(Reply):
    """A passage that search found."""

    chunk: str
    document: str
    page: int | None
    start: int
    end: int
    heading: str
    score: float
    relevance: float
    text: str


class Hits(Reply):
    """Passages, the best first."""

    hits: list[HitOut]


class AnswerOut(Reply):
    """A finished answer; `timings` are seconds by stage."""

    answer: str
    refused: bool
    citations: list[CitationOut]
    hits: list[HitOut]
    timings: dict[str, float]
    query: str
    note: str


class Contradictions(Reply):
    """Every way in which stored data contradicts itself; none is good."""

    problems: list[str]


@router.get("", summary="List the knowledge bases")
def bases(client: ClientDep) -> list[KnowledgeBase]:
    """All of them, by name."""
    return client.knowledge.bases()


@router.post("", summary="Create a knowledge base", status_code=201)
def create(body: NewBase, client: ClientDep) -> KnowledgeBase:
    """An empty one. The sizes cannot be changed later."""
    return client.knowledge.create(
        body.name, chunk_size=body.chunk_size, chunk_overlap=body.overlap
    )


@router.get("/{kb}", summary="Show a knowledge base")
def show(kb: str, client: ClientDep) -> BaseWithDocuments:
    """Its sizes, its model, and its documents without their texts."""
    base = client.knowledge.base(kb)
    return BaseWithDocuments(**asdict(base), contents=client.knowledge.documents(kb))


@router.delete("/{kb}", summary="Delete a knowledge base", status_code=204)
def delete(kb: str, client: ClientDep) -> None:
    """The base and everything in it. This cannot be undone."""
    client.knowledge.delete(kb)


@router.post("/{kb}/search", summary="Search a knowledge base", response_model=Hits)
def search(kb: str, body: SearchRequest, client: ClientDep) -> dict[str, Any]:
    """The best passages, as ranked at `stage`: by words (lexical), by vectors (dense), by both
    (fused), or after the reranker (reranked)."""
    query = checked_question(body.query)
    hits = client.knowledge.search(kb, query, top_k=body.top_k, stage=body.stage)
    return {"hits": [hit_record(hit) for hit in hits]}


@router.post("/{kb}/verify", summary="Check a knowledge base")
def verify(kb: str, client: ClientDep) -> Contradictions:
    """Compares the indexes with what is stored; a rebuild repairs what is wrong."""
    return Contradictions(problems=[*map(_, client.knowledge.verify(kb))])


@router.post("/{kb}/rebuild", summary="Rebuild the indexes")
def rebuild(kb: str, client: ClientDep) -> KnowledgeBase:
    """Makes new indexes from the stored documents; answers when that is done."""
    client.knowledge.rebuild(kb)
    return client.knowledge.base(kb)


@router.post("/{kb}/ask", summary="Ask a question", response_model=AnswerOut, responses=STREAMS)
def ask(kb: str, body: AskRequest, client: ClientDep, accept: Accept = "") -> Response:
    """An answer with its checked citations. `strict` quotes the documents word for word, `free`
    lets the model write where it can; with `stream` the answer comes as it is made."""
    choice = choose_model(client, body.model)
    if choice.kb:
        error = InputError(
            "the model names a knowledge base, {kb!r}; leave it out here", kb=choice.kb
        )
        raise Problem(error, param="model")
    client.knowledge.base(kb)
    history = [Turn(turn.question, turn.answer) for turn in body.history]
    events = client.pipeline(choice.writer).answer(
        body.question, kb=kb, mode=body.mode, history=history, top_k=body.top_k
    )
    return StepsResponse(_answer_steps(events), format_of(accept, stream=body.stream))


def _answer_steps(events: Iterator[Delta | Answer]) -> Iterator[Step]:
    with closing_iterator(events):
        for event in events:
            if isinstance(event, Delta):
                yield {"type": "delta", "text": event.text}
            else:
                yield {"type": "answer", **answer_record(event)}
