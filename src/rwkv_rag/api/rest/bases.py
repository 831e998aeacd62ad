"""`/api/knowledge`: knowledge bases made, shown, searched, checked, rebuilt, deleted."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from rwkv_rag.api.context import Here
from rwkv_rag.api.rest.shapes import (
    BaseOut,
    BaseShown,
    Hits,
    NewBase,
    Problems,
    SearchRequest,
)
from rwkv_rag.i18n import _
from rwkv_rag.question import checked_question
from rwkv_rag.records import base_record, document_record, hit_record

router = APIRouter(prefix="/api/knowledge", tags=["Knowledge bases"])


@router.get("", summary="List the knowledge bases", response_model=list[BaseOut])
def bases(here: Here) -> list[dict[str, Any]]:
    """All of them, by name."""
    return [base_record(base) for base in here.parts.knowledge.bases()]


@router.post("", summary="Create a knowledge base", response_model=BaseOut, status_code=201)
def create(asked: NewBase, here: Here) -> dict[str, Any]:
    """An empty one. The sizes cannot be changed later."""
    base = here.parts.knowledge.create(
        asked.name, chunk_size=asked.chunk_size, chunk_overlap=asked.overlap
    )
    return base_record(base)


@router.get("/{kb}", summary="Show a knowledge base", response_model=BaseShown)
def show(kb: str, here: Here) -> dict[str, Any]:
    """Its sizes, its model, and its documents without their texts."""
    base = here.parts.knowledge.base(kb)
    contents = [document_record(info) for info in here.parts.knowledge.documents(kb)]
    return {**base_record(base), "contents": contents}


@router.delete("/{kb}", summary="Delete a knowledge base", status_code=204)
def delete(kb: str, here: Here) -> Response:
    """The base and everything in it. This cannot be undone."""
    here.parts.knowledge.delete(kb)
    return Response(status_code=204)


@router.post("/{kb}/search", summary="Search a knowledge base", response_model=Hits)
def search(kb: str, asked: SearchRequest, here: Here) -> dict[str, Any]:
    """The best passages, as ranked at `stage`: by words (lexical), by vectors (dense), by both
    (fused), or after the reranker (reranked)."""
    query = checked_question(asked.query)
    hits = here.parts.knowledge.search(kb, query, top_k=asked.top_k, stage=asked.stage)
    return {"hits": [hit_record(hit) for hit in hits]}


@router.post("/{kb}/verify", summary="Check a knowledge base", response_model=Problems)
def verify(kb: str, here: Here) -> dict[str, Any]:
    """Compares the indexes with what is stored; what is wrong is mended by a rebuild."""
    problems = here.parts.knowledge.verify(kb)
    return {"problems": [_(problem) for problem in problems]}


@router.post("/{kb}/rebuild", summary="Rebuild the indexes", response_model=BaseOut)
def rebuild(kb: str, here: Here) -> dict[str, Any]:
    """Makes the indexes anew from the stored documents; answers when that is done."""
    here.parts.knowledge.rebuild(kb)
    return base_record(here.parts.knowledge.base(kb))
