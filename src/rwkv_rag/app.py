"""Composition root: alone names concrete classes. Heavy imports wait in the builders.

`Settings.model` decides: "builtin" is the model in the package, "fake" deterministic stand-ins, and
a path the user's own checkpoint, which replaces the model that writes and nothing else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rwkv_rag.config import BUILTIN, FAKE, Settings
from rwkv_rag.errors import NotFound
from rwkv_rag.interfaces import Embedder, Generator, Knowledge, Reranker

if TYPE_CHECKING:
    from rwkv_rag.evaluation.report import Report
    from rwkv_rag.knowledge.library import Library
    from rwkv_rag.rag.answering import Answerer
    from rwkv_rag.rag.pipeline import Pipeline


def open_library(settings: Settings) -> Library:
    """The knowledge bases under `settings.home`, to be closed; models load when first needed."""
    from rwkv_rag.knowledge.library import Library

    return Library(settings.home, lambda: _embedder(settings), lambda: _reranker(settings))


def open_pipeline(settings: Settings, library: Knowledge) -> Pipeline:
    """What answers questions from `library`."""
    from rwkv_rag.rag.pipeline import Pipeline

    return Pipeline(library, open_answerer(settings))


def open_answerer(settings: Settings) -> Answerer:
    """What answers from given passages, with the strategy its models are measured best at."""
    from rwkv_rag.rag.answering import Answerer, Answering

    if settings.model == FAKE:
        from rwkv_rag.testing import CopyGenerator, OverlapReader

        return Answerer(
            Answering(strategy="read", writes=True),
            reader=OverlapReader(),
            generator=CopyGenerator(),
        )
    if settings.model == BUILTIN:
        return Answerer(Answering())
    return Answerer(
        Answering(strategy="ground", writes=True), generator=_generator(Path(settings.model))
    )


def evaluate(
    settings: Settings,
    file: Path,
    *,
    mode: Literal["rag", "gold"],
    limit: int | None,
    progress: Report,
) -> dict[str, Any]:
    """The report of an evaluation over a file of questions, in a temporary home."""
    from rwkv_rag.evaluation import dataset, report

    return report.evaluate(
        dataset.read(file, limit),
        mode=mode,
        answerer=open_answerer(settings),
        open_knowledge=lambda: _temporary_library(settings),
        progress=progress,
    )


def measure(settings: Settings) -> dict[str, Any]:
    """How fast the model is on this machine."""
    raise NotFound("no measurement yet")


@contextmanager
def _temporary_library(settings: Settings) -> Iterator[Knowledge]:
    with (
        tempfile.TemporaryDirectory(prefix="rwkv-rag-", ignore_cleanup_errors=True) as home,
        closing(open_library(replace(settings, home=Path(home)))) as library,
    ):
        yield library


def _embedder(settings: Settings) -> Embedder:
    if settings.model == FAKE:
        from rwkv_rag.testing import HashEmbedder

        return HashEmbedder()
    raise NotFound("no builtin model yet")


def _reranker(settings: Settings) -> Reranker:
    if settings.model == FAKE:
        from rwkv_rag.testing import OverlapReranker

        return OverlapReranker()
    raise NotFound("no builtin model yet")


def _generator(path: Path) -> Generator:
    raise NotFound(f"cannot run {path} yet")
