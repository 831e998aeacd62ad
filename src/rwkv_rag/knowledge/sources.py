"""Paths to the files they stand for, each with the document name it will have. Reads no content."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """A file to index under `name`."""

    path: Path
    name: str


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """All files, directories walked in sorted order, each file once, every name once.

    A name is the path inside the given directory, or the file name. Where names collide, all of
    them get as much of their parent path as tells them apart.
    """
    found: dict[Path, Path] = {}  # resolved -> relative name
    for path in paths:
        for file, name in _files(path):
            found.setdefault(_resolved(file), name)
    return _distinct(found)


def _files(path: Path) -> Iterator[tuple[Path, Path]]:
    if not path.is_dir():
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
        if path.is_dir():
            yield from _walk(path, seen)
        else:
            yield path


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a symlink loop
        return path.absolute()


def _distinct(found: dict[Path, Path]) -> list[Source]:
    names = dict(found)
    while clashes := {name for name, n in Counter(names.values()).items() if n > 1}:
        for path, name in names.items():
            if name in clashes:
                depth = len(name.parts) + 1
                names[path] = Path(*path.parts[-depth:])
        if clashes <= set(names.values()):  # the whole path is used up
            break
    return [Source(path, names[path].as_posix()) for path in found]
