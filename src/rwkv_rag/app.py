"""Composition root: alone names concrete classes. Heavy imports wait in the builders.

`Settings.model` decides: "builtin" is the model in the package, "fake" deterministic stand-ins, and
a path the user's own checkpoint, which replaces the model that writes and nothing else.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rwkv_rag.config import BUILTIN, FAKE, Settings
from rwkv_rag.errors import InputError, UnsupportedModel
from rwkv_rag.interfaces import Embedder, Generator, Knowledge, Reader, Reranker

if TYPE_CHECKING:
    from rwkv_rag.encoders.base import Base
    from rwkv_rag.encoders.manifest import Manifest
    from rwkv_rag.evaluation.report import Report
    from rwkv_rag.knowledge.library import Library
    from rwkv_rag.rag.answering import Answerer
    from rwkv_rag.rag.pipeline import Pipeline
    from rwkv_rag.tuning.dataset import Prepared
    from rwkv_rag.tuning.from_knowledge import RowEvent
    from rwkv_rag.tuning.jsonl import Line

PACKAGE = Path(__file__).parent
BUILTIN_MODEL = PACKAGE / "builtin"
WORLD_VOCABULARY = PACKAGE / "rwkv" / "rwkv_vocab_v20230424.txt"


def open_library(settings: Settings) -> Library:
    """The knowledge bases under `settings.home`, to be closed; models load when first needed."""
    from rwkv_rag.knowledge.library import Library

    if settings.model == FAKE:
        from rwkv_rag.testing import HashEmbedder, OverlapReranker

        return Library(settings.home, HashEmbedder(), OverlapReranker())
    weight = _manifest().rerank_weight
    return Library(settings.home, _embedder, _reranker if weight else None, rerank_weight=weight)


def open_pipeline(settings: Settings, library: Knowledge) -> Pipeline:
    """What answers questions from `library`."""
    from rwkv_rag.rag.pipeline import Pipeline

    return Pipeline(library, open_answerer(settings), check_documents=True)


def open_answerer(settings: Settings) -> Answerer:
    """What answers from given passages, in the way its models were measured best at."""
    from rwkv_rag.rag.answering import Answerer, Answering

    if settings.model == FAKE:
        from rwkv_rag.testing import CopyGenerator, OverlapReader

        how = Answering(strategy="read", writes=True)
        return Answerer(how, reader=OverlapReader(), generator=CopyGenerator())
    if settings.model != BUILTIN:
        generator = _generator(Path(settings.model))
        return Answerer(Answering(strategy="ground", writes=True), generator=generator)
    return _builtin_answerer()


def _builtin_answerer() -> Answerer:
    from rwkv_rag.rag.answering import Answerer, Answering

    known = _manifest()
    how = Answering(strategy="read", threshold=known.relevance, writes=known.writes)
    generator = _builtin_generator() if known.writes else None
    return Answerer(how, reader=_reader(known), generator=generator)


def _reader(known: Manifest) -> Reader:
    from rwkv_rag.encoders.reader import RwkvReader
    from rwkv_rag.encoders.weighed import WeighedReader

    return WeighedReader(lambda: RwkvReader(_builtin()), known.head_weight)


def _builtin_generator() -> Generator:
    from rwkv_rag.rwkv.generation import RwkvGenerator

    base = _builtin()
    return RwkvGenerator(base.model, base.tokenizer, name=base.manifest.name)


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


def measure(settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """How fast the model runs on this machine; `progress` is told each stage."""
    if settings.model == FAKE:
        raise InputError("the stand-ins have no speed to measure; give --model FILE")
    from rwkv_rag.rwkv.measure import measure

    path = BUILTIN_MODEL / "model.safetensors" if settings.model == BUILTIN else settings.model
    return dict(measure(path, progress=progress))


def wandb_login() -> str:
    """ "logged in", "not logged in" or "missing": what Weights & Biases on this machine says."""
    from rwkv_rag.tuning import tracking

    return tracking.wandb_login()


def read_rows(path: Path) -> Iterator[Line]:
    """The rows of a .jsonl file line by line; a line that cannot be trained on says why."""
    from rwkv_rag.tuning import jsonl, rows

    for line in jsonl.read(path):
        try:
            if not line.problem:
                rows.parse(line.value, budget=sys.maxsize, count=len)
        except InputError as error:
            line = replace(line, problem=str(error))
        yield line


def rows_from_knowledge(
    settings: Settings,
    library: Knowledge,
    kb: str,
    *,
    rows: int = 200,
    refusals: float = 0.2,
    passages: int = 3,
    seed: int = 0,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[RowEvent]:
    """Training rows made from a knowledge base; the model writes the questions if it can write."""
    from rwkv_rag.tuning import from_knowledge

    return from_knowledge.build(
        library,
        kb,
        rows=rows,
        refusals=refusals,
        passages=passages,
        seed=seed,
        generator=_question_writer(settings),
        cancelled=cancelled,
    )


def _question_writer(settings: Settings) -> Generator | None:
    if settings.model == FAKE:
        return None
    if settings.model != BUILTIN:
        return _generator(Path(settings.model))
    return _builtin_generator() if _manifest().writes else None


def prepare_rows(
    settings: Settings,
    source: Path,
    prefix: Path,
    *,
    scored: Literal["answers", "all"] = "answers",
    skip_bad: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Prepared:
    """Training rows as tokens of the vocabulary that belongs to the model."""
    from rwkv_rag.rwkv.tokenizer import Tokenizer
    from rwkv_rag.tuning.dataset import prepare

    beside = Path(settings.model).with_name("vocab.txt")
    own = BUILTIN_MODEL / "vocab.txt" if settings.model in (BUILTIN, FAKE) else beside
    tokenizer = Tokenizer.from_file(own if own.exists() else WORLD_VOCABULARY)
    return prepare(
        source, prefix, tokenizer, scored=scored, skip_bad=skip_bad, progress=progress,
        vocabulary=_vocabulary_size(settings, tokenizer.vocab_size),
    )  # fmt: skip


def _vocabulary_size(settings: Settings, tokens: int) -> int:
    """How many ids the model knows: at least as many as its vocabulary has."""
    from rwkv_rag.rwkv.checkpoint import load_checkpoint

    if settings.model == FAKE:
        return tokens
    path = BUILTIN_MODEL / "model.safetensors" if settings.model == BUILTIN else settings.model
    return load_checkpoint(path).shape.vocab


def magic_prime(prepared: Prepared, context: int) -> int | None:
    """What RWKV-LM's trainer wants to know of a file of tokens, None where it has too few."""
    from rwkv_rag.tuning import binidx

    return binidx.magic_prime(prepared.tokens, context)


@contextmanager
def _temporary_library(settings: Settings) -> Iterator[Knowledge]:
    with (
        tempfile.TemporaryDirectory(prefix="rwkv-rag-", ignore_cleanup_errors=True) as home,
        closing(open_library(replace(settings, home=Path(home)))) as library,
    ):
        yield library


def _embedder() -> Embedder:
    from rwkv_rag.encoders.embedder import RwkvEmbedder

    return RwkvEmbedder(_builtin())


def _reranker() -> Reranker:
    from rwkv_rag.encoders.reranker import RwkvReranker

    return RwkvReranker(_builtin())


def _manifest() -> Manifest:
    """What is known of the model in the package; read without torch."""
    from rwkv_rag.encoders.manifest import Manifest

    return Manifest.read(BUILTIN_MODEL)


@cache
def _builtin() -> Base:
    """The model in the package, in memory once for all its roles."""
    from rwkv_rag.encoders.base import Base

    return Base(BUILTIN_MODEL)


def _generator(path: Path) -> Generator:
    """The user's checkpoint, with the vocabulary beside it or else the World vocabulary."""
    from rwkv_rag.rwkv.generation import RwkvGenerator
    from rwkv_rag.rwkv.tokenizer import Tokenizer
    from rwkv_rag.rwkv.x070 import X070

    model = X070.load(path)
    beside = path.with_name("vocab.txt")
    tokenizer = Tokenizer.from_file(beside if beside.exists() else WORLD_VOCABULARY)
    if tokenizer.vocab_size > model.shape.vocab:
        raise UnsupportedModel(
            f"{path.name} knows {model.shape.vocab:,} tokens and the vocabulary has "
            f"{tokenizer.vocab_size:,}; put the model's own vocabulary beside it as vocab.txt"
        )
    return RwkvGenerator(model, tokenizer, name=path.stem)
