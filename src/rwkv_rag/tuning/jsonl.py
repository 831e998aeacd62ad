"""Reads .jsonl files of any size line by line, plain or compressed. Knows no row's meaning.

Memory is bounded by the longest line that is allowed, not by the file; a damaged line is told with
its number and does not keep the lines after it from being read.
"""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rwkv_rag.errors import InputError, Message, NotFound, message, system_reason

LONGEST_LINE = 16 << 20
"""Bytes; a longer line is not a row but a file that lost its line ends, or an attack."""

SUFFIXES = (".jsonl", ".jsonl.xz", ".jsonl.gz")
_BOM = b"\xef\xbb\xbf"
_REPORT_BYTES = 1 << 20  # of the file as it lies on the disk, between two reports of progress

Progress = Callable[[int, int], None]
"""Told bytes done and bytes in all, of the file as it lies on the disk."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line with something on it: the decoded JSON, or why it cannot be read."""

    number: int
    value: Any = None
    problem: Message | None = None


def quiet(done: int, total: int) -> None:
    """Progress that nobody watches."""


def read(path: Path, *, progress: Progress = quiet) -> Iterator[Line]:
    """The lines of a .jsonl, .jsonl.xz or .jsonl.gz file that are not blank, in order.

    Raises InputError where the file as a whole cannot be read; a bad line is yielded as such.
    """
    number = 0
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            total, told = path.stat().st_size, 0
            for number, data in enumerate(_lines(stack.enter_context(_opened(path, raw))), 1):
                if raw.tell() - told >= _REPORT_BYTES:
                    told = raw.tell()
                    progress(told, total)
                line = _decoded(number, data)
                if line is not None:
                    yield line
            progress(total, total)
    except FileNotFoundError:
        raise NotFound("{path} does not exist; check the path", path=path) from None
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            "{path} line {number}: the archive is damaged or cut short",
            path=path,
            number=number + 1,
        ) from error
    except OSError as error:
        raise InputError(
            "{path} cannot be read: {reason}", path=path, reason=system_reason(error)
        ) from error


def readable(path: Path) -> bool:
    """Whether the name is that of a file of rows."""
    return path.name.lower().endswith(SUFFIXES)


def _opened(path: Path, raw: IO[bytes]) -> IO[bytes]:
    ending = path.suffix.lower()
    if ending == ".xz":
        return lzma.LZMAFile(raw)
    return gzip.GzipFile(fileobj=raw) if ending == ".gz" else raw  # type: ignore[return-value]


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Lines, read no further than the limit: a compressed file can hold one of many gigabytes."""
    first = True
    while data := file.readline(LONGEST_LINE + 1):
        if len(data) > LONGEST_LINE and not data.endswith(b"\n"):
            _skip_line(file)
        yield data.removeprefix(_BOM) if first else data
        first = False


def _skip_line(file: IO[bytes]) -> None:
    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass


def _decoded(number: int, data: bytes) -> Line | None:
    """The line's value, its problem, or None where nothing is on it."""
    if len(data) > LONGEST_LINE:
        return Line(
            number, problem=message("it is longer than {size} MiB", size=LONGEST_LINE >> 20)
        )
    try:
        text = data.decode("utf-8").strip()
        return Line(number, json.loads(text)) if text else None
    except UnicodeDecodeError as error:
        return Line(number, problem=message("it is not UTF-8 text ({reason})", reason=error.reason))
    except json.JSONDecodeError as error:
        return Line(number, problem=message("it is not JSON (column {column})", column=error.colno))
    except (RecursionError, ValueError):
        return Line(number, problem=message("it is not JSON that can be read"))
