"""`/api/knowledge/{kb}/documents` and its neighbours: documents listed, read, added, removed.

Texts come as JSON, files as an upload; paths of the server's own machine only below folders that
whoever started the server has opened (`Options.folders`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response, UploadFile

from rwkv_rag.api.context import Here
from rwkv_rag.api.faults import Refused
from rwkv_rag.api.flow import EVENTS, LINES, Form
from rwkv_rag.api.options import Options
from rwkv_rag.api.rest.adding import Adding
from rwkv_rag.api.rest.shapes import (
    DocumentOut,
    DocumentText,
    NewTexts,
    Outcome,
    ServerPaths,
)
from rwkv_rag.errors import InputError, NotAllowed, NotFound
from rwkv_rag.knowledge.uploads import Uploads
from rwkv_rag.records import document_record
from rwkv_rag.types import Document

router = APIRouter(prefix="/api/knowledge/{kb}", tags=["Documents"])

Streamed = Annotated[
    bool, Query(alias="stream", description="Tell the progress (NDJSON, or SSE by Accept).")
]
Accept = Annotated[str, Header(include_in_schema=False)]
STREAMS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/x-ndjson": {"schema": {"type": "string"}},
            "text/event-stream": {"schema": {"type": "string"}},
        }
    }
}


def form_of(accept: str, *, streamed: bool) -> Form | None:
    """Lines of JSON, or server-sent events for whoever accepts them; None: one JSON object."""
    if not streamed:
        return None
    return EVENTS if EVENTS.media_type in accept.lower() else LINES


@router.get("/documents", summary="List the documents", response_model=list[DocumentOut])
def documents(kb: str, here: Here) -> list[dict[str, Any]]:
    """All documents of a knowledge base by name, without their texts."""
    return [document_record(info) for info in here.parts.knowledge.documents(kb)]


@router.get("/documents/{document:path}", summary="Show a document", response_model=DocumentText)
def document(kb: str, document: str, here: Here) -> dict[str, Any]:
    """Its text as it is stored, the coordinates of every citation."""
    found = here.parts.knowledge.document(kb, document)
    pages = [{"number": page.number, "start": page.start, "end": page.end} for page in found.pages]
    return {
        "name": found.name,
        "text": found.text,
        "sha256": found.sha256,
        "media_type": found.media_type,
        "pages": pages,
    }


@router.delete("/documents/{document:path}", summary="Remove a document", status_code=204)
def remove(kb: str, document: str, here: Here) -> Response:
    """Out of the base and of every index."""
    here.parts.knowledge.remove(kb, document)
    return Response(status_code=204)


@router.post("/documents", summary="Add texts", response_model=Outcome, responses=STREAMS)
def add(
    kb: str,
    asked: NewTexts,
    here: Here,
    streamed: Streamed = False,
    accept: Accept = "",
) -> Response:
    """Texts with a name; one whose name is there already takes its place."""
    given = [
        Document(each.name, each.text, hashlib.sha256(each.text.encode()).hexdigest())
        for each in asked.documents
    ]
    events = here.parts.knowledge.add(kb, given)
    steps = Adding(events, streamed=streamed)
    return here.flow(steps, form_of(accept, streamed=streamed))


@router.post("/files", summary="Upload files", response_model=Outcome, responses=STREAMS)
def upload(
    kb: str,
    files: list[UploadFile],
    here: Here,
    streamed: Streamed = False,
    accept: Accept = "",
) -> Response:
    """Text, Markdown and PDF files, as `multipart/form-data` with one `files` field each. What
    cannot be read is skipped with its reason."""
    if len(files) > here.options.files:
        error = InputError(
            "the upload has {files} files; the limit is {files2}: send several",
            files=len(files),
            files2=here.options.files,
        )
        raise Refused(error, param="files", code="too_large", status=413)
    uploads = Uploads()
    try:
        paths = uploads.keep((each.filename or "", each.file) for each in files)
        events = here.parts.knowledge.index(kb, paths)
    except BaseException:
        uploads.close()
        raise
    steps = Adding(events, streamed=streamed, afterwards=uploads.close)
    return here.flow(steps, form_of(accept, streamed=streamed))


@router.post(
    "/paths", summary="Index paths of the server", response_model=Outcome, responses=STREAMS
)
def index(
    kb: str,
    asked: ServerPaths,
    here: Here,
    streamed: Streamed = False,
    accept: Accept = "",
) -> Response:
    """Files and directories of the machine the server runs on, below the folders opened with
    `rwkv-rag api --folder`; without any, this is refused."""
    paths = [allowed_path(path, here.options, f"paths[{n}]") for n, path in enumerate(asked.paths)]
    events = here.parts.knowledge.index(kb, paths)
    steps = Adding(events, streamed=streamed)
    return here.flow(steps, form_of(accept, streamed=streamed))


def allowed_path(given: str, options: Options, param: str) -> Path:
    """The path, if it lies below an open folder with all links followed. Raises Refused."""
    if not options.folders:
        error = NotAllowed(
            "paths of the server may not be named; upload the file, or start the server with "
            "--folder DIRECTORY"
        )
        raise Refused(error, param=param, code="paths_not_allowed", status=403)
    try:
        path = Path(given).resolve()
        inside = any(path.is_relative_to(folder.resolve()) for folder in options.folders)
        there = path.exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, a loop of links
        inside = there = False
    if not inside:
        error = NotAllowed(
            "{given!r} is not below a folder that this server may read", given=given[:200]
        )
        raise Refused(error, param=param, code="paths_not_allowed", status=403)
    if not there:
        raise Refused(
            NotFound("{given!r} does not exist; check the path", given=given[:200]), param=param
        )
    return path
