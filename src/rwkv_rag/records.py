"""Our values as plain dictionaries: what `--json` prints and the HTTP API sends. Knows neither."""

from __future__ import annotations

from typing import Any

from rwkv_rag.types import Answer, Citation, DocumentInfo, Hit, KnowledgeBase


def answer_record(answer: Answer) -> dict[str, Any]:
    """What `ask --json` prints."""
    return {
        "answer": answer.text,
        "refused": answer.refused,
        "citations": [citation_record(citation) for citation in answer.citations],
        "hits": [hit_record(hit) for hit in answer.hits],
        "timings": {name: round(seconds, 4) for name, seconds in answer.timings.items()},
        "query": answer.query,
        "note": answer.note,
    }


def citation_record(citation: Citation) -> dict[str, Any]:
    """Document, page, character span and quote."""
    return {
        "document": citation.document,
        "page": citation.page,
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
    }


def hit_record(hit: Hit) -> dict[str, Any]:
    """One element of the list `search --json` prints."""
    chunk = hit.chunk
    return {
        "chunk": chunk.id,
        "document": chunk.document,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "heading": chunk.heading,
        "score": hit.score,
        "relevance": hit.relevance,
        "text": chunk.text,
    }


def base_record(base: KnowledgeBase) -> dict[str, Any]:
    """One element of the list `kb list --json` prints."""
    return {
        "name": base.name,
        "documents": base.documents,
        "chunks": base.chunks,
        "chunk_size": base.chunk_size,
        "chunk_overlap": base.chunk_overlap,
        "embedding_model": base.embedding_model,
    }


def document_record(info: DocumentInfo) -> dict[str, Any]:
    """One element of `documents` in `kb show --json`."""
    return {
        "name": info.name,
        "media_type": info.media_type,
        "characters": info.characters,
        "chunks": info.chunks,
        "pages": info.pages,
        "sha256": info.sha256,
    }
