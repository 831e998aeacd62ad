"""Training data: from a file of rows, or a .bin/.idx pair, to rows on the disk and to batches.

`prepare` reads a .jsonl once, row by row, and leaves NAME.bin, NAME.idx and NAME.mask beside one
another; `Rows` maps them into memory and `Batches` deals them out. Knows no model.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from rwkv_rag.errors import InputError, Message, system_reason
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.tuning import binidx, jsonl, rows
from rwkv_rag.tuning.batches import Batch, Batches
from rwkv_rag.tuning.rows import Encoded, RowEncoder, Scored
from rwkv_rag.tuning.stored import Rows, mask_path

__all__ = ["Batch", "Batches", "Prepared", "Rows", "checked", "prepare"]

REASONS_KEPT = 1000
"""Bad lines that are remembered; of more there are only counts, so that memory stays bounded."""

_CHECKED_AT_ONCE = 1 << 22  # tokens


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was made of a source. `tokens` holds the end tokens too, `scored` the loss's targets.

    `prefix` is where the rows are: `Rows.open(prepared.prefix, scored=…)`. `skipped` are the first
    bad lines, with the reason, and `bad` how many there were.
    """

    prefix: Path
    rows: int
    tokens: int
    scored: int
    longest: int
    sha256: str
    bad: int = 0
    skipped: tuple[tuple[int, Message], ...] = ()


def checked(path: Path) -> Iterator[jsonl.Line]:
    """The lines of a .jsonl file; one that cannot be trained on says why in `problem`."""
    for line in jsonl.read(path):
        try:
            if not line.problem:
                rows.parse(line.value, budget=sys.maxsize, count=len)
        except InputError as error:
            line = replace(line, problem=error.message)
        yield line


def prepare(
    source: Path,
    prefix: Path,
    tokenizer: Tokenizer,
    *,
    scored: Scored = "answers",
    skip_bad: bool = False,
    progress: jsonl.Progress = jsonl.quiet,
    vocabulary: int | None = None,
) -> Prepared:
    """Rows of `source` as tokens at `prefix`; a .bin (with its .idx) is only checked, and used
    where it is. `vocabulary` is how many ids the model knows, if that is more than the tokenizer's.

    Memory does not grow with the file. Raises InputError for a bad line (or counts it, with
    `skip_bad`), for ids the model does not know, and where no row is left.
    """
    size = vocabulary or tokenizer.vocab_size
    if tokenizer.vocab_size > size:
        raise InputError(
            "the vocabulary has {vocab_size:,} tokens and the model knows {size:,}; use "
            "the vocabulary that belongs to the model",
            vocab_size=tokenizer.vocab_size,
            size=size,
        )
    if source.suffix.lower() in (".bin", ".idx"):
        return _in_place(binidx.prefix_of(source), scored, size, progress)
    if not jsonl.readable(source):
        raise InputError(
            "{source} is no training data; give a {suffixes} or .bin file",
            source=source,
            suffixes=", ".join(jsonl.SUFFIXES),
        )
    encoder = RowEncoder(tokenizer, scored=scored)
    bad, skipped = _convert(source, prefix, encoder, scored, skip_bad, progress)
    rows = Rows.open(prefix)
    if not len(rows):
        del rows
        for path in (binidx.bin_path(prefix), binidx.idx_path(prefix), mask_path(prefix)):
            path.unlink(missing_ok=True)
        if bad:
            raise InputError(
                "{source} has only bad lines; training needs at least one good one", source=source
            )
        raise InputError("{source} holds no row; give a file with at least one", source=source)
    return _told(rows, bad, skipped)


def _convert(
    source: Path,
    prefix: Path,
    encoder: RowEncoder,
    scored: Scored,
    skip_bad: bool,
    progress: jsonl.Progress,
) -> tuple[int, list[tuple[int, Message]]]:
    """Write the files; the number of bad lines, and the first of them."""
    bad = 0
    skipped: list[tuple[int, Message]] = []
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
        with binidx.Writer(prefix) as writer, _mask(prefix, scored) as mask:
            for line in jsonl.read(source, progress=progress):
                row = _encoded(encoder, line)
                if isinstance(row, Encoded):
                    writer.add(row.ids)
                    mask.write(row.scored.tobytes())
                    continue
                if not skip_bad:
                    raise bad_line(source, line.number, row)
                bad += 1
                if len(skipped) < REASONS_KEPT:
                    skipped.append((line.number, row))
    except OSError as error:
        raise InputError(
            "{prefix} cannot be written: {reason}", prefix=prefix, reason=system_reason(error)
        ) from error
    return bad, skipped


def bad_line(source: Path, number: int, reason: Message | None) -> InputError:
    """The error for a line that cannot be used, where bad lines are not to be skipped."""
    return InputError(
        "{source} line {number}: {reason}; correct it, or leave bad lines out (--skip-bad)",
        source=source,
        number=number,
        reason=reason,
    )


def _encoded(encoder: RowEncoder, line: jsonl.Line) -> Encoded | Message:
    """The row, or why there is none."""
    if line.problem:
        return line.problem
    try:
        return encoder.encode(line.value)
    except InputError as error:
        return error.message


@contextmanager
def _mask(prefix: Path, scored: Scored) -> Iterator[BinaryIO]:
    """Where the mask goes: nowhere when everything counts. A failure leaves none behind."""
    path = mask_path(prefix)
    path.unlink(missing_ok=True)
    try:
        with (path if scored == "answers" else Path(os.devnull)).open("wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _in_place(prefix: Path, scored: Scored, vocabulary: int, progress: jsonl.Progress) -> Prepared:
    rows = Rows.open(prefix, scored=scored)
    if not len(rows):
        raise InputError(
            "{prefix} holds no document; nothing can be learned", prefix=binidx.bin_path(prefix)
        )
    tokens = rows.tokens
    for start in range(0, len(tokens), _CHECKED_AT_ONCE):
        largest = int(tokens[start : start + _CHECKED_AT_ONCE].max())
        if largest >= vocabulary:
            raise InputError(
                "{prefix} holds the token {largest} and the model knows {vocabulary:,}; make "
                "the file with the model's own vocabulary",
                prefix=binidx.bin_path(prefix),
                largest=largest,
                vocabulary=vocabulary,
            )
        progress(2 * start, 2 * len(tokens))
    return _told(rows, 0, [])


def _told(rows: Rows, bad: int, skipped: list[tuple[int, Message]]) -> Prepared:
    return Prepared(
        prefix=rows.prefix,
        rows=len(rows),
        tokens=len(rows.tokens),
        scored=rows.scored,
        longest=rows.longest,
        sha256=rows.sha256,
        bad=bad,
        skipped=tuple(skipped),
    )
