"""The requests and responses below `/api`. A field that does not exist is an error, not a wish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rwkv_rag.api.text import Name, Shown, Text
from rwkv_rag.api.v1.shapes import CitationOut, Reply
from rwkv_rag.interfaces import SearchStage
from rwkv_rag.records import hit_record
from rwkv_rag.types import Answer


class Request(BaseModel):
    """Nothing is taken for what it is not, and nothing is ignored."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class NewBase(Request):
    """A knowledge base to be made."""

    name: Name = Field(examples=["handbook"])
    chunk_size: int = Field(400, description="Characters of a passage.")
    overlap: int = Field(60, description="Characters that two neighbouring passages share.")


class NewText(Request):
    """A document typed in."""

    name: Shown = Field(examples=["note.txt"])
    text: Text = Field(min_length=1, examples=["The office is closed on Mondays."])


class NewTexts(Request):
    """Documents typed in."""

    documents: list[NewText] = Field(min_length=1, max_length=1000)


class ServerPaths(Request):
    """Files and directories of the server's machine."""

    paths: list[Name] = Field(min_length=1, max_length=1000, examples=[["/srv/papers"]])


class SearchRequest(Request):
    """What to look for, and how."""

    query: Text = Field(examples=["annual fee"])
    top_k: int = Field(5, ge=1, le=100)
    stage: SearchStage = "reranked"


class Earlier(Request):
    """A question of the conversation so far and its answer."""

    question: Text
    answer: Text = ""


class AskRequest(Request):
    """A question to a knowledge base."""

    question: Text = Field(examples=["What is the annual fee for a plot?"])
    mode: Literal["strict", "free"] = "strict"
    top_k: int | None = Field(None, ge=1, le=100)
    history: list[Earlier] = Field(default=[], max_length=1000)
    model: Name = Field("default", description="MODEL or MODEL:TUNED, as /v1/models lists them.")
    stream: bool = False


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


class DocumentText(Reply):
    """A document as it is stored; every offset counts characters of `text`."""

    name: str
    text: str
    sha256: str
    media_type: str
    pages: list[dict[str, int]]


class BaseOut(Reply):
    """A knowledge base, and where they are asked for its documents."""

    name: str
    documents: int
    chunks: int
    chunk_size: int
    chunk_overlap: int
    embedding_model: str


class BaseShown(BaseOut):
    """A knowledge base with the list of its documents."""

    contents: list[DocumentOut]


class DocumentOut(Reply):
    """What is known of a document without its text."""

    name: str
    media_type: str
    characters: int
    chunks: int
    pages: int
    sha256: str


class IndexedOut(Reply):
    """What became of one document; `reason` says why it was skipped or left as it is."""

    document: str
    stage: Literal["indexed", "unchanged", "replaced", "skipped"]
    reason: str


class Outcome(Reply):
    """What became of all of them."""

    indexed: int
    replaced: int
    unchanged: int
    skipped: int
    documents: list[IndexedOut]


class Problems(Reply):
    """Every way in which stored data contradicts itself; none is good."""

    problems: list[str]


def answer_record(answer: Answer, citations: list[Mapping[str, Any]]) -> dict[str, Any]:
    """An answer in the shape of `AnswerOut`."""
    return {
        "answer": answer.text,
        "refused": answer.refused,
        "citations": citations,
        "hits": [hit_record(hit) for hit in answer.hits],
        "timings": {name: round(seconds, 4) for name, seconds in answer.timings.items()},
        "query": answer.query,
        "note": answer.note,
    }
