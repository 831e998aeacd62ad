"""Composition root: with `models`, alone names concrete classes. Heavy imports wait in builders.

`Settings.model` decides: "builtin" is the model in the package, "fake" deterministic stand-ins, and
a path the user's own checkpoint, which replaces the model that writes and nothing else. What
`Settings.tuned` names on the shelf changes that model, or is one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rwkv_rag import models
from rwkv_rag.config import BUILTIN, FAKE, Settings
from rwkv_rag.errors import InputError
from rwkv_rag.interfaces import Embedder, Generator, Knowledge, Reader, Reranker, Tuner

if TYPE_CHECKING:
    from rwkv_rag.encoders.manifest import Manifest
    from rwkv_rag.evaluation.report import Report
    from rwkv_rag.knowledge.library import Library
    from rwkv_rag.rag.answering import Answerer
    from rwkv_rag.rag.pipeline import Pipeline
    from rwkv_rag.rwkv.tuned import Tuned
    from rwkv_rag.tuning.dataset import Prepared
    from rwkv_rag.tuning.exports import Written
    from rwkv_rag.tuning.from_knowledge import RowEvent
    from rwkv_rag.tuning.jsonl import Line


def open_library(settings: Settings) -> Library:
    """The knowledge bases under `settings.home`, to be closed; models load when first needed."""
    from rwkv_rag.knowledge.library import Library

    if settings.model == FAKE:
        from rwkv_rag.testing import HashEmbedder, OverlapReranker

        return Library(settings.home, HashEmbedder(), OverlapReranker())
    weight = models.manifest().rerank_weight
    return Library(settings.home, _embedder, _reranker if weight else None, rerank_weight=weight)


def open_pipeline(
    settings: Settings, library: Knowledge, *, lend: Callable[[Generator], Generator] | None = None
) -> Pipeline:
    """What answers questions from `library`; `lend` may wrap the generator it writes with."""
    from rwkv_rag.rag.pipeline import Pipeline

    return Pipeline(library, open_answerer(settings, lend=lend), check_documents=True)


def open_answerer(
    settings: Settings,
    tuned: str = "",
    *,
    lend: Callable[[Generator], Generator] | None = None,
) -> Answerer:
    """What answers from given passages, in the way its models were measured best at.

    `tuned` takes the place of `settings.tuned`. Whoever chooses something tuned wants it to write;
    strict answers stay the reader's unless the model is the user's own.
    """
    from rwkv_rag.rag.answering import Answerer, Answering

    settings = models.with_whole_model(replace(settings, tuned=tuned or settings.tuned))
    if settings.model == FAKE:
        return _stand_in_answerer(settings)
    known, shelved = models.manifest(), models.shelved(Path(settings.model))
    # What free answers say they were written with; nothing for a model as it came.
    writer = " + ".join(filter(None, (shelved.name if shelved else "", settings.tuned)))
    own = settings.model != BUILTIN and shelved is None
    generator: Generator | None = None
    if own or writer or known.writes:
        writing = models.open_engine(settings).generator(settings.tuned)
        generator = lend(writing) if lend else writing
    if own:
        how = Answering(strategy="ground", writes=True, writer=writer)
        return Answerer(how, generator=generator)
    writes = generator is not None
    how = Answering(strategy="read", threshold=known.relevance, writes=writes, writer=writer)
    return Answerer(how, reader=_reader(known), generator=generator)


def _stand_in_answerer(settings: Settings) -> Answerer:
    from rwkv_rag.rag.answering import Answerer, Answering
    from rwkv_rag.testing import CopyGenerator, OverlapReader

    if settings.tuned:
        raise InputError(
            f"the stand-ins cannot write with {settings.tuned!r}; leave it out or choose a model"
        )
    how = Answering(strategy="read", writes=True)
    return Answerer(how, reader=OverlapReader(), generator=CopyGenerator())


def _reader(known: Manifest) -> Reader:
    from rwkv_rag.encoders.reader import RwkvReader
    from rwkv_rag.encoders.weighed import WeighedReader

    return WeighedReader(lambda: RwkvReader(models.builtin()), known.head_weight)


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
        answers="free" if settings.tuned else "strict",
        answerer=open_answerer(settings),
        open_knowledge=lambda: _temporary_library(settings),
        progress=progress,
    )


def measure(settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """How fast the model runs on this machine; `progress` is told each stage."""
    if settings.model == FAKE:
        raise InputError("the stand-ins have no speed to measure; give --model FILE")
    from rwkv_rag.rwkv.measure import measure

    return dict(measure(models.base_files(settings.model).model, progress=progress))


def open_tuner(settings: Settings) -> Tuner:
    """Fine-tuning jobs under `settings.home`; torch loads when one is to be started."""
    from rwkv_rag.tuning.jobs import Jobs

    return Jobs(settings.home, models.base_files)


def all_tuned(settings: Settings) -> list[Tuned]:
    """Everything on the shelf, by name."""
    return models.shelf(settings).all()


def import_tuned(
    settings: Settings, file: Path, name: str, *, alpha: float | None, first: Path | None
) -> tuple[str, Tuned]:
    """Put another program's state or adapter for `settings.model` on the shelf.

    Gives what the file turned out to be, in words, and what is now on the shelf.
    """
    from datetime import datetime, timezone

    from rwkv_rag.rwkv.checkpoint import load_checkpoint
    from rwkv_rag.rwkv.tuned import Tuned
    from rwkv_rag.tuning import exports, formats

    shelf, files = models.shelf(settings), models.base_files(settings.model)
    shelf.check_free(name)
    base = load_checkpoint(files.model)
    found = formats.read(file, base, alpha=alpha, first=first)
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    tuned = Tuned(
        name,
        found.kind,
        base.sha256,
        files.name,
        "import",
        rank=found.rank,
        alpha=found.alpha,
        parts=found.parts,
        created=made,
    )
    exports.shelve(shelf, found, tuned)
    return found.what, tuned


def export_tuned(settings: Settings, name: str, path: Path) -> Written:
    """Write something from the shelf for other programs."""
    from rwkv_rag.tuning import exports

    return exports.export(models.shelf(settings), name, path)


def merge_tuned(settings: Settings, name: str, path: Path) -> None:
    """Write `settings.model` with a state or adapter from the shelf in it."""
    from rwkv_rag.rwkv.checkpoint import load_checkpoint
    from rwkv_rag.tuning import exports

    files = models.base_files(settings.model)
    vocabulary = None if files.vocabulary == models.WORLD_VOCABULARY else files.vocabulary
    base = load_checkpoint(files.model)
    exports.merge(models.shelf(settings), name, base, path, vocabulary=vocabulary)


def remove_tuned(settings: Settings, name: str) -> None:
    """Take something off the shelf for good."""
    models.shelf(settings).remove(name)


def wandb_login() -> str:
    """What Weights & Biases says of itself here: "logged in", "not logged in" or "missing"."""
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
    if settings.model == FAKE or (settings.model == BUILTIN and not models.manifest().writes):
        return None
    return models.open_engine(settings).generator()


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

    model = BUILTIN if settings.model == FAKE else settings.model
    tokenizer = Tokenizer.from_file(models.base_files(model).vocabulary)
    return prepare(
        source, prefix, tokenizer, scored=scored, skip_bad=skip_bad, progress=progress,
        vocabulary=_vocabulary_size(settings, tokenizer.vocab_size),
    )  # fmt: skip


def _vocabulary_size(settings: Settings, tokens: int) -> int:
    """How many ids the model knows: at least as many as its vocabulary has."""
    from rwkv_rag.rwkv.checkpoint import load_checkpoint

    if settings.model == FAKE:
        return tokens
    return load_checkpoint(models.base_files(settings.model).model).shape.vocab


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

    return RwkvEmbedder(models.builtin())


def _reranker() -> Reranker:
    from rwkv_rag.encoders.reranker import RwkvReranker

    return RwkvReranker(models.builtin())
