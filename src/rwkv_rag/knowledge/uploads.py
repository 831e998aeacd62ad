"""Files that a client sends: under which name they are kept, and in which folder. Reads none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from rwkv_rag.knowledge.sources import UPLOAD_PREFIX

LONGEST_NAME = 200  # bytes; file systems take 255


def safe_name(name: str) -> str:
    """The last part of an uploaded file's name, whichever slashes the client used."""
    last = PureWindowsPath(PurePosixPath(name).name).name
    cleaned = "".join(char for char in last if char.isprintable()).strip(". ")
    end = cleaned.encode("utf-8", "ignore")[-LONGEST_NAME:].decode("utf-8", "ignore")
    return end.strip(". ") or "document.txt"


class Uploads:
    """A folder for the files of one upload; it goes with `close`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=UPLOAD_PREFIX)

    def keep(self, files: Iterable[tuple[str, BinaryIO]]) -> list[Path]:
        """Each in a folder of its own, so that two of one name do not meet."""
        return [self._keep(n, name, content) for n, (name, content) in enumerate(files)]

    def close(self) -> None:
        """Remove the folder and what is in it."""
        self._folder.cleanup()

    def _keep(self, number: int, name: str, content: BinaryIO) -> Path:
        path = Path(self._folder.name) / str(number) / safe_name(name)
        path.parent.mkdir()
        with path.open("wb") as file:
            shutil.copyfileobj(content, file)
        return path
