"""Paths to the files they stand for, each with the document name it will have. Reads no content."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

from rwkv_rag.knowledge.load import printable

UPLOAD_PREFIX = "rwkv-rag-upload-"
"""Begins the name of the temporary folder in which the pages hand over an upload."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to index under `name`, which is printable whatever the file is called."""

    path: Path
    name: str


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """All files, directories walked in sorted order, each file once, every name once.

    A name is the path inside the given directory, or the file name. Where names collide, all of
    them get as much of their parent path as tells them apart, and at last a number.
    """
    found: dict[Path, Path] = {}  # resolved -> relative name
    for path in paths:
        for file, name in _files(path):
            found.setdefault(_resolved(file), name)
    return _distinct(found)


def candidates(source: Source) -> Iterator[str]:
    """Names for a source in the order of preference; never ends."""
    yield source.name
    longer = Path(*source.path.parts[-len(Path(source.name).parts) - 1 :])
    longer = longer.relative_to(longer.anchor)
    tried = {source.name}
    while True:
        name = first_free(printable(longer.as_posix()), tried)
        tried.add(name)
        yield name


def lasting_path(source: Source) -> Path | None:
    """Where the source will be found again; None for an upload, whose folder goes with it."""
    upload = any(part.startswith(UPLOAD_PREFIX) for part in source.path.parts)
    return None if upload else source.path


def _files(path: Path) -> Iterator[tuple[Path, Path]]:
    if not os.path.isdir(path):
        yield path, Path(path.name)
        return
    for file in _walk(path, set()):
        yield file, file.relative_to(path)


def _walk(directory: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Files below `directory`; hidden ones are left out, and no directory is entered twice."""
    try:
        status = directory.stat()
        entries = sorted(os.listdir(directory))
    except OSError:
        yield directory  # whoever reads it will say what is wrong
        return
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if entry.startswith("."):
            continue
        path = directory / entry
        if os.path.isdir(path):  # unlike `Path.is_dir` it raises nothing
            yield from _walk(path, seen)
        else:
            yield path


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a symlink loop
        return path.absolute()


def _distinct(found: dict[Path, Path]) -> list[Source]:
    names = {path: Path(printable(name)) for path, name in found.items()}
    while clashes := {name for name, n in Counter(names.values()).items() if n > 1}:
        for path, name in names.items():
            if name in clashes:
                names[path] = Path(printable(Path(*path.parts[-len(name.parts) - 1 :])))
        if clashes <= set(names.values()):  # the whole path is used up
            break
    sources: dict[str, Source] = {}
    for path, name in names.items():
        chosen = first_free(name.as_posix(), sources)
        sources[chosen] = Source(path, chosen)
    return list(sources.values())


def first_free(name: str, taken: Container[str]) -> str:
    """`name`, or else `name` with the first number, before its suffix, that is not taken."""
    if name not in taken:
        return name
    path = PurePosixPath(name)
    numbered = (str(path.with_name(f"{path.stem} ({n}){path.suffix}")) for n in count(2))
    return next(each for each in numbered if each not in taken)
