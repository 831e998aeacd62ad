"""Deterministic stand-ins for every Protocol: no weights, no torch, the same answer every time.

They serve dry runs (`model: fake`) and tests. They know words and overlap, nothing of language.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from rwkv_rag.errors import AlreadyExists, InputError, NotFound, UnreadableDocument
from rwkv_rag.interfaces import SearchStage
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
    SourceSpan,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TOKEN = re.compile(r"[\u4e00-\u9fff]|[a-z0-9]+")
_SENTENCE = re.compile(r"[^。！？!?\n]+?(?:[。！？!?]|\.(?=\s|$)|(?=\n)|$)")
_PASSAGE = re.compile(r"^\[(\d+)\] <<<\n(.*?)\n>>>", re.MULTILINE | re.DOTALL)
_QUESTION = re.compile(r"^(?:问题：|Question: )(.*?)\n\nAssistant:", re.MULTILINE | re.DOTALL)


def words(text: str) -> list[str]:
    """Lower-case Latin words and numbers, and single Chinese characters."""
    return _TOKEN.findall(text.lower())


def overlap(question: str, text: str) -> float:
    """The share, 0..1, of the question's distinct words and word pairs that `text` holds."""
    wanted = _grams(question)
    return len(wanted & _grams(text)) / len(wanted) if wanted else 0.0


class HashEmbedder:
    """Vectors of hashed words and word pairs: texts that share words point the same way."""

    def __init__(self, dimension: int = 256) -> None:
        self._model = EmbeddingModel(f"hash-{dimension}", dimension, similarity_floor=0.2)

    @property
    def model(self) -> EmbeddingModel:
        return self._model

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        vectors = np.zeros((len(texts), self._model.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for gram in _grams(text) or {""}:  # an empty text still gets a unit vector
                place, sign = _hashed(gram, self._model.dimension)
                vectors[row, place] += sign
            if not vectors[row].any():  # signs that cancel
                vectors[row, 0] = 1.0
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


class OverlapReranker:
    """Scores a text by the share of the query it holds."""

    def rerank(self, query: str, texts: Sequence[str]) -> list[float]:
        return [overlap(query, text) for text in texts]


class OverlapReader:
    """Reads out the sentence that shares most with the question.

    The margin is that share less `floor`: what holds little of the question is no answer.
    """

    def __init__(self, floor: float = 0.3) -> None:
        self._floor = floor

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        return [self._read(question, n, passage) for n, passage in enumerate(passages)]

    def _read(self, question: str, number: int, passage: str) -> Reading | None:
        spans = _sentences(passage)
        if not spans:
            return None
        start, end = max(spans, key=lambda span: overlap(question, passage[slice(*span)]))
        share = overlap(question, passage[start:end])
        return Reading(SourceSpan(number, start, end), share - self._floor)


class CopyGenerator:
    """A writer that copies: the best sentence of the passages in its prompt, with its mark.

    Grounded, it copies from `sources`; it refuses where nothing is shared and a refusal is allowed.
    It streams a few characters at a time and honours `max_tokens` (as it counts) and `stop`.
    """

    name = "copy"

    def count_tokens(self, text: str) -> int:
        return len(words(text))

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
        question = _asked(prompt)
        if sources is not None:
            return _grounded(question, sources, refusal)
        passages = {int(number): text for number, text in _PASSAGE.findall(prompt)}
        return _streamed(_copied(question, passages), max_tokens, stop)


class ScriptedGenerator:
    """Says the given replies one after another, in the given pieces, and records every prompt."""

    name = "scripted"

    def __init__(self, *replies: str | Sequence[Delta]) -> None:
        self.prompts: list[str] = []
        self._replies = list(replies)

    def count_tokens(self, text: str) -> int:
        return len(words(text))

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
        self.prompts.append(prompt)
        if not self._replies:
            raise InputError("the script has no reply left; give one for every question")
        reply = self._replies.pop(0)
        return _streamed(reply, max_tokens, stop) if isinstance(reply, str) else iter(reply)


class MemoryKnowledge:
    """Knowledge in dictionaries: fixed-size chunks, ranked by word overlap at every stage."""

    def __init__(self) -> None:
        self._bases: dict[str, KnowledgeBase] = {}
        self._documents: dict[str, dict[str, Document]] = {}
        self._chunks: dict[str, dict[str, Chunk]] = {}

    def create(self, name: str, *, chunk_size: int = 400, chunk_overlap: int = 60) -> KnowledgeBase:
        if not name.strip() or not 0 <= chunk_overlap < chunk_size:
            raise InputError(
                "cannot create {name!r} with chunks of {chunk_size}/{chunk_overlap}",
                name=name,
                chunk_size=chunk_size,
                chunk_overlap=chunk_overlap,
            )
        if name in self._bases:
            raise AlreadyExists("the knowledge base {name!r} exists already", name=name)
        self._bases[name] = KnowledgeBase(name, chunk_size, chunk_overlap, "overlap")
        self._documents[name], self._chunks[name] = {}, {}
        return self._bases[name]

    def delete(self, name: str) -> None:
        self.base(name)
        del self._bases[name], self._documents[name], self._chunks[name]

    def bases(self) -> list[KnowledgeBase]:
        return [self.base(name) for name in sorted(self._bases)]

    def base(self, name: str) -> KnowledgeBase:
        if name not in self._bases:
            raise NotFound(
                "no knowledge base {name!r}; there are: {bases}",
                name=name,
                bases=", ".join(sorted(self._bases)),
            )
        documents, chunks = len(self._documents[name]), len(self._chunks[name])
        return replace(self._bases[name], documents=documents, chunks=chunks)

    def documents(self, name: str) -> list[DocumentInfo]:
        self.base(name)
        return [self._info(name, each) for _, each in sorted(self._documents[name].items())]

    def document(self, name: str, document: str) -> Document:
        self.base(name)
        if document not in self._documents[name]:
            raise NotFound("no document {document!r} in {name!r}", document=document, name=name)
        return self._documents[name][document]

    def remove(self, name: str, document: str) -> None:
        self.document(name, document)
        del self._documents[name][document]
        kept = {key: each for key, each in self._chunks[name].items() if each.document != document}
        self._chunks[name] = kept

    def index(
        self, name: str, paths: Sequence[Path], *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[IndexEvent]:
        base = self.base(name)
        for done, path in enumerate(paths, 1):
            if cancelled():
                return
            try:
                yield self._add(base, _text_document(path), done, len(paths))
            except UnreadableDocument as error:
                yield IndexEvent("skipped", path.name, done, len(paths), reason=error.message)

    def add(self, name: str, documents: Sequence[Document]) -> Iterator[IndexEvent]:
        base = self.base(name)
        for done, document in enumerate(documents, 1):
            yield self._add(base, document, done, len(documents))

    def verify(self, name: str) -> list[str]:
        self.base(name)
        return []

    def rebuild(self, name: str) -> None:
        self.base(name)

    def search(
        self, name: str, query: str, *, top_k: int = 5, stage: SearchStage = "reranked"
    ) -> list[Hit]:
        self.base(name)
        hits = [self._hit(name, chunk, query) for chunk in self._chunks[name].values()]
        hits.sort(key=lambda hit: -hit.score)
        return [hit for hit in hits if hit.score > 0][:top_k]

    def chunk(self, name: str, chunk_id: str) -> Chunk:
        self.base(name)
        if chunk_id not in self._chunks[name]:
            raise NotFound("no chunk {chunk_id!r} in {name!r}", chunk_id=chunk_id, name=name)
        return self._chunks[name][chunk_id]

    def _add(self, base: KnowledgeBase, document: Document, done: int, total: int) -> IndexEvent:
        known = self._documents[base.name].get(document.name)
        if known and known.sha256 == document.sha256:
            return IndexEvent("unchanged", document.name, done, total)
        if known:
            self.remove(base.name, document.name)
        self._documents[base.name][document.name] = document
        chunks = list(_chunked(document, base.chunk_size, base.chunk_overlap))
        self._chunks[base.name].update({chunk.id: chunk for chunk in chunks})
        event = IndexEvent("indexed", document.name, done, total, len(chunks), len(chunks))
        return replace(event, stage="replaced") if known else event

    def _hit(self, name: str, chunk: Chunk, query: str) -> Hit:
        share = overlap(query, chunk.text)
        return Hit(chunk, share, share, self._documents[name][chunk.document].pages)

    def _info(self, name: str, document: Document) -> DocumentInfo:
        chunks = sum(chunk.document == document.name for chunk in self._chunks[name].values())
        return DocumentInfo(
            document.name,
            document.sha256,
            document.media_type,
            len(document.text),
            chunks,
            len(document.pages),
        )


def text_document(name: str, text: str) -> Document:
    """A document from text in memory."""
    return Document(name, text, hashlib.sha256(text.encode()).hexdigest())


def _text_document(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableDocument("cannot read {path}: {reason}", path=path, reason=error) from error
    if not text.strip():
        raise UnreadableDocument("{path} is empty", path=path)
    return text_document(path.name, text)


def _chunked(document: Document, size: int, overlapping: int) -> Iterator[Chunk]:
    starts = range(0, max(len(document.text) - overlapping, 1), size - overlapping)
    for index, start in enumerate(starts):
        end = min(start + size, len(document.text))
        page = next((p.number for p in document.pages if p.start <= start < p.end), None)
        identity = f"{document.sha256[:16]}-{document.name}-{index}"
        yield Chunk(identity, document.name, index, start, end, document.text[start:end], page)


def _grams(text: str) -> set[str]:
    found = words(text)
    return {*found, *(f"{a} {b}" for a, b in pairwise(found))}


def _hashed(gram: str, dimension: int) -> tuple[int, int]:
    """A place and a sign; not `hash`, which differs from process to process."""
    digest = hashlib.blake2b(gram.encode(), digest_size=8).digest()
    value = int.from_bytes(digest, "big")
    return (value >> 1) % dimension, 1 if value & 1 else -1


def _sentences(text: str) -> list[tuple[int, int]]:
    spans = []
    for match in _SENTENCE.finditer(text):
        stripped = match[0].strip()
        if stripped:
            start = match.start() + match[0].index(stripped[0])
            spans.append((start, start + len(stripped)))
    return spans


def _asked(prompt: str) -> str:
    questions = _QUESTION.findall(prompt)
    return questions[-1] if questions else prompt


def _best(question: str, passages: Sequence[str]) -> Reading | None:
    readings = [r for r in OverlapReader(floor=0.0).read(question, passages) if r and r.margin > 0]
    return max(readings, key=lambda reading: reading.margin, default=None)


def _grounded(question: str, sources: Sequence[str], refusal: str) -> Iterator[Delta]:
    best = _best(question, sources)
    if best is None:
        yield Delta(refusal, finish="refusal")
        return
    text = sources[best.span.source][best.span.start : best.span.end]
    for start in range(0, len(text), 4):
        yield Delta(text[start : start + 4])
    yield Delta("", finish="stop", span=best.span)


def _copied(question: str, passages: dict[int, str]) -> str:
    best = _best(question, list(passages.values()))
    if best is None:
        return "I found no answer in the passages."
    number, text = list(passages.items())[best.span.source]
    return f"{text[best.span.start : best.span.end]} [{number}]"


def _streamed(text: str, max_tokens: int, stop: Sequence[str]) -> Iterator[Delta]:
    cut = min([len(text), *(place for s in stop if (place := text.find(s)) >= 0)])
    shown = text[:cut]
    matches = list(_TOKEN.finditer(shown.lower()))
    finish = "length" if len(matches) > max_tokens else "stop"
    if finish == "length":
        shown = shown[: matches[max_tokens - 1].end()]
    for start in range(0, len(shown), 4):
        yield Delta(shown[start : start + 4])
    yield Delta("", finish="length" if finish == "length" else "stop")
