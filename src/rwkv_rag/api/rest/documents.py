"""`/api/knowledge/{kb}/documents` and its neighbours: documents listed, read, added, removed.

Texts come as JSON, files as an upload; paths of the server's own machine only below the folders
that the server was started with (`Options.folders`). Streamed, adding sends its progress:

{"type": "progress", "stage": "embedding", "document": …, "done": 0, "total": 3, …}
{"type": "done", "indexed": 3, …, "documents": [{"document": …, "stage": …, "reason": …}]}
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Response, UploadFile
from pydantic import Field

from rwkv_rag.api.dependencies import STREAMS, ClientDep, ContextDep, FormatDep
from rwkv_rag.api.options import Options
from rwkv_rag.api.problems import Problem
from rwkv_rag.api.responses import Step, StepsResponse, closing_iterator
from rwkv_rag.api.schemas import Name, PrintableName, Reply, Request, Text
from rwkv_rag.errors import InputError, NotAllowed, NotFound
from rwkv_rag.i18n import _
from rwkv_rag.knowledge.uploads import Uploads
from rwkv_rag.types import Document, DocumentInfo, IndexEvent

OUTCOMES = ("indexed", "replaced", "unchanged", "skipped")

router = APIRouter(prefix="/api/knowledge/{kb}", tags=["Documents"])


class NewText(Request):
    """A document as a text."""

    name: PrintableName = Field(examples=["note.txt"])
    text: Text = Field(min_length=1, examples=["The office is closed on Mondays."])


class NewTexts(Request):
    """Documents as texts."""

    documents: list[NewText] = Field(min_length=1, max_length=1000)


class ServerPaths(Request):
    """Files and directories of the server's machine."""

    paths: list[Name] = Field(min_length=1, max_length=1000, examples=[["/srv/papers"]])


class DocumentOutcome(Reply):
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
    documents: list[DocumentOutcome]


@router.get("/documents", summary="List the documents")
def documents(kb: str, client: ClientDep) -> list[DocumentInfo]:
    """All documents of a knowledge base by name, without their texts."""
    return client.knowledge.documents(kb)


@router.get("/documents/{document:path}", summary="Show a document")
def document(kb: str, document: str, client: ClientDep) -> Document:
    """Its text as it is stored; every offset, also of citations, counts its characters."""
    return client.knowledge.document(kb, document)


@router.delete("/documents/{document:path}", summary="Remove a document", status_code=204)
def remove(kb: str, document: str, client: ClientDep) -> None:
    """Out of the base and of every index."""
    client.knowledge.remove(kb, document)


@router.post("/documents", summary="Add texts", response_model=Outcome, responses=STREAMS)
def add(kb: str, body: NewTexts, client: ClientDep, format: FormatDep) -> Response:
    """Texts with a name; one whose name is there already takes its place."""
    documents = [
        Document(each.name, each.text, hashlib.sha256(each.text.encode()).hexdigest())
        for each in body.documents
    ]
    return StepsResponse(_index_steps(client.knowledge.add(kb, documents)), format)


@router.post("/files", summary="Upload files", response_model=Outcome, responses=STREAMS)
def upload(kb: str, files: list[UploadFile], context: ContextDep, format: FormatDep) -> Response:
    """Text, Markdown and PDF files, as `multipart/form-data` with one `files` field each. What
    cannot be read is skipped with its reason."""
    limit = context.options.files
    if len(files) > limit:
        error = InputError(
            "the upload has {files} files; the limit is {files2}: send several",
            files=len(files),
            files2=limit,
        )
        raise Problem(error, param="files", code="too_large", status=413)
    uploads = Uploads()
    try:
        paths = uploads.keep((each.filename or "", each.file) for each in files)
        events = context.client.knowledge.index(kb, paths)
    except BaseException:
        uploads.close()
        raise
    return StepsResponse(_index_steps(events, uploads), format)


@router.post(
    "/paths", summary="Index paths of the server", response_model=Outcome, responses=STREAMS
)
def index(kb: str, body: ServerPaths, context: ContextDep, format: FormatDep) -> Response:
    """Files and directories of the machine the server runs on, below the folders opened with
    `rwkv-rag api --folder`; without any, this is refused."""
    paths = [allowed_path(p, context.options, f"paths[{n}]") for n, p in enumerate(body.paths)]
    return StepsResponse(_index_steps(context.client.knowledge.index(kb, paths)), format)


def allowed_path(given: str, options: Options, param: str) -> Path:
    """The path, if it lies below an open folder with all links followed. Raises Problem."""
    if not options.folders:
        error = NotAllowed(
            "paths of the server may not be named; upload the file, or start the server with "
            "--folder DIRECTORY"
        )
        raise Problem(error, param=param, code="paths_not_allowed", status=403)
    try:
        path = Path(given).resolve()
        inside = any(path.is_relative_to(folder.resolve()) for folder in options.folders)
        exists = path.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, a loop of links
        inside = exists = False
    if not inside:
        error = NotAllowed(
            "{given!r} is not below a folder that this server may read", given=given[:200]
        )
        raise Problem(error, param=param, code="paths_not_allowed", status=403)
    if not exists:
        missing = NotFound("{given!r} does not exist; check the path", given=given[:200])
        raise Problem(missing, param=param)
    return path


def _index_steps(events: Iterator[IndexEvent], uploads: Uploads | None = None) -> Iterator[Step]:
    """The progress of indexing; `uploads` are removed at the end; what was indexed stays."""
    counts: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
    documents: list[dict[str, str]] = []
    with closing(uploads) if uploads else nullcontext(), closing_iterator(events):
        for event in events:
            reason = _(event.reason)
            if event.stage in OUTCOMES:
                counts[event.stage] += 1
                found = {"document": event.document, "stage": event.stage, "reason": reason}
                documents.append(found)
            yield {"type": "progress", **asdict(event), "reason": reason}
    yield {"type": "done", **counts, "documents": documents}
