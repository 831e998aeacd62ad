"""Reads files of questions: one JSON object a line, plain or xz. Knows nothing of their use."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from rwkv_rag.errors import InputError, system_reason
from rwkv_rag.types import Language

MAX_LINE = 1_000_000
"""Characters; a longer line is not a question."""

_TEXTS = ("id", "source", "title", "passage", "question")


@dataclass(frozen=True, slots=True)
class Row:
    """A question about a passage; `answers` holds every right answer, none if not `answerable`."""

    id: str
    lang: Language
    source: str
    title: str
    passage: str
    question: str
    answers: tuple[str, ...]
    answerable: bool


def read(path: Path, limit: int | None = None) -> list[Row]:
    """The rows of a `.jsonl` or `.jsonl.xz` file, the first `limit` of them.

    Raises InputError naming the line and what is wrong with it, or the file when it cannot be read.
    """
    if limit is not None and limit < 1:
        raise InputError("the limit is {limit}; give a whole number from 1", limit=limit)
    try:
        with _opened(path) as lines:
            rows = list(_rows(lines, path, limit))
    except OSError as error:
        raise InputError(
            "cannot read {path}: {reason}", path=path, reason=system_reason(error)
        ) from error
    except (lzma.LZMAError, EOFError) as error:
        raise InputError(
            "cannot read {path}: it is no xz file, or a damaged one", path=path
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            "cannot read {path}: it is not UTF-8 text ({reason})", path=path, reason=error.reason
        ) from error
    if not rows:
        raise InputError(
            "{path} holds no question; give a .jsonl file with one question a line", path=path
        )
    return rows


def parse(record: Any) -> Row:
    """A row from decoded JSON. Raises InputError saying what is missing or wrong."""
    if not isinstance(record, dict):
        raise InputError("it is not an object")
    for name in _TEXTS:
        if not isinstance(record.get(name), str):
            raise InputError('"{name}" is missing or not a text', name=name)
    for name in ("passage", "question"):
        if not record[name].strip():
            raise InputError('"{name}" is empty', name=name)
    if record.get("lang") not in ("zh", "en"):
        raise InputError('"lang" is {value!r}, not "zh" or "en"', value=record.get("lang"))
    answers, answerable = record.get("answers"), record.get("answerable")
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise InputError('"answers" is missing or not a list of texts')
    if not isinstance(answerable, bool):
        raise InputError('"answerable" is missing or neither true nor false')
    if answerable and not answers:
        raise InputError('"answers" is empty although the question is answerable')
    texts = {name: record[name] for name in _TEXTS}
    return Row(**texts, lang=record["lang"], answers=tuple(answers), answerable=answerable)


def _rows(lines: TextIO, path: Path, limit: int | None) -> Iterator[Row]:
    found = 0
    for number, line in enumerate(_bounded(lines), 1):
        if limit is not None and found >= limit:
            return
        if not line.strip():
            continue
        try:
            if len(line) > MAX_LINE:
                raise InputError("it is longer than {max_line:,} characters", max_line=MAX_LINE)
            yield parse(json.loads(line))
        except (InputError, json.JSONDecodeError, RecursionError) as error:
            raise InputError(
                "{path}, line {number}: {reason}", path=path, number=number, reason=_reason(error)
            ) from error
        found += 1


def _bounded(lines: TextIO) -> Iterator[str]:
    """Lines, read no further than the limit: a compressed file can hold one of many gigabytes."""
    while line := lines.readline(MAX_LINE + 1):
        yield line


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"it is not JSON ({error})"


def _opened(path: Path) -> AbstractContextManager[TextIO]:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def sources(rows: Sequence[Row]) -> list[str]:
    """The sources of `rows`, each once, in order."""
    return list(dict.fromkeys(row.source for row in rows))
