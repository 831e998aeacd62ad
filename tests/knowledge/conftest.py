"""Fakes and builders for the knowledge room: an embedder of character pairs, small PDF files."""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rwkv_rag.knowledge.library import Library
from rwkv_rag.types import Document, EmbeddingModel


class PairEmbedder:
    """Counts hashed character pairs: texts that share pairs are near. Counts what it is asked."""

    def __init__(self, model_id: str = "pairs", dimension: int = 64, fusion_weight: float = 1.0):
        self.model = EmbeddingModel(
            model_id, dimension, fusion_weight=fusion_weight, similarity_floor=0.3
        )
        self.batches: list[int] = []

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.batches.append(len(texts))
        vectors = np.zeros((len(texts), self.model.dimension), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for left, right in itertools.pairwise(text):
                row[zlib.crc32((left + right).encode()) % len(row)] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.embed_documents(texts)


@pytest.fixture
def embedder() -> PairEmbedder:
    return PairEmbedder()


@pytest.fixture
def make_embedder() -> type[PairEmbedder]:
    return PairEmbedder


@pytest.fixture
def library(tmp_path: Path, embedder: PairEmbedder) -> Iterator[Library]:
    library = Library(tmp_path / "home", embedder)
    yield library
    library.close()


@pytest.fixture
def document() -> Callable[..., Document]:
    def make(name: str, text: str, **fields: object) -> Document:
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Document(name, text, digest, **fields)  # type: ignore[arg-type]

    return make


class Unprivileged:
    """A directory, and a block in which this process has no more rights to it than others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Nothing in the directory can be written here; root becomes nobody meanwhile."""
        for path in (*self.directory.rglob("*"), self.directory):
            path.chmod(0o555 if path.is_dir() else 0o444)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
            for path in (self.directory, *self.directory.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def unprivileged() -> Iterator[Unprivileged]:
    # Not in `tmp_path`, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="rwkv-rag-test-") as directory:
        Path(directory).chmod(0o755)
        yield Unprivileged(Path(directory))


def pdf(pages: Sequence[str], *, encrypted: bool = False) -> bytes:
    """A PDF of ASCII lines; an empty page has no text layer."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for text in pages:
        shown = "".join(f"({line}) Tj 0 -14 Td " for line in text.split("\n") if line)
        stream = f"BT /F1 12 Tf 40 780 Td {shown}ET" if shown else ""
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {len(objects) + 2} 0 R"
            " /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica"
            " >> >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    trailer = f"/Root 1 0 R /Size {len(objects) + 1}"
    if encrypted:  # keys that no empty password opens
        key = "<" + "41" * 32 + ">"
        objects.append(f"<< /Filter /Standard /V 1 /R 2 /O {key} /U {key} /P -44 >>")
        trailer += f" /Encrypt {len(objects)} 0 R /ID [<{'00' * 16}> <{'00' * 16}>]"
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    tail = f"{head}{table}trailer << {trailer} >>\nstartxref\n{len(body)}\n%%EOF"
    return body + tail.encode()


@pytest.fixture
def make_pdf() -> Callable[..., bytes]:
    return pdf
