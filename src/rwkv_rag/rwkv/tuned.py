"""The store of tuned states, adapters and models: a folder for each under `HOME/tuned`.

A folder holds `manifest.json` and one tensor file; the manifest names the base model by the hash of
its file. Reads no tensors and does not import torch, so listing what is there is quick.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rwkv_rag.config import BUILTIN, FAKE
from rwkv_rag.errors import (
    AlreadyExists,
    CorruptData,
    InputError,
    ModelMismatch,
    NotFound,
    system_reason,
)

Kind = Literal["state", "adapter", "model"]
MANIFEST = "manifest.json"
STALE_S = 86_400.0  # longer than writing the largest model takes
FILES: dict[Kind, str] = {
    "state": "state.safetensors",
    "adapter": "adapter.safetensors",
    "model": "model.safetensors",
}
_NAME = re.compile(r"[\w][\w.\-]{0,63}")


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is known of a tuned state, adapter or model.

    base            sha256 of the base's file, in hex; a state or adapter fits no other
    method          how it was made: full, lora, pissa, miss, state, or "import"
    parts           what of the network was trained
    data            sha256 of the training rows, in hex, empty if not known
    loss            of the last steps; `before` and `after`: on rows held back; nats per token
    """

    name: str
    kind: Kind
    base: str
    base_name: str
    method: str
    rank: int = 0
    alpha: float = 0.0
    parts: tuple[str, ...] = ()
    data: str = ""
    steps: int = 0
    tokens: int = 0
    loss: float | None = None
    before: float | None = None
    after: float | None = None
    created: str = ""

    def write(self, folder: Path) -> None:
        """Write the manifest; the tensor file beside it is the caller's."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Tuned:
        """Read the manifest in `folder`. NotFound, or CorruptData where it is damaged."""
        path = folder / MANIFEST
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            tuned = cls(**{**values, "parts": tuple(values.get("parts", ()))})
            FILES[tuned.kind]
            tuned._check_types()
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound("there is nothing tuned at {folder}", folder=folder) from None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CorruptData(
                "{path} is damaged ({reason}); tune or import it again under another name",
                path=path,
                reason=error,
            ) from error
        return tuned

    def _check_types(self) -> None:
        """Raise TypeError where a field holds what its users cannot show or compare."""
        texts = (self.name, self.base, self.base_name, self.method, self.data, self.created)
        whole = (self.rank, self.steps, self.tokens)
        real = (self.alpha, self.loss, self.before, self.after)
        if not (
            all(isinstance(value, str) for value in (*texts, *self.parts))
            and all(isinstance(value, int) for value in whole)
            and all(value is None or isinstance(value, (int, float)) for value in real)
        ):
            raise TypeError("a value of another type")

    def check_base(self, sha256: str) -> None:
        """Raise ModelMismatch unless this belongs to the base with that hash."""
        if self.kind != "model" and self.base != sha256:
            raise ModelMismatch(
                "{name!r} was tuned on {base_name} ({base}), not on the model in use "
                "({sha256}); choose that model or tune it again on this one",
                name=self.name,
                base_name=self.base_name,
                base=self.base[:12],
                sha256=sha256[:12],
            )


class TunedStore:
    """All tuned states, adapters and models of one home directory."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "tuned"

    def all(self) -> list[Tuned]:
        """All that can be read, ordered by name; damaged folders are left out."""
        found = []
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if not _NAME.fullmatch(folder.name):  # being written or removed
                continue
            try:
                found.append(Tuned.read(folder))
            except (NotFound, CorruptData):
                continue
        return found

    def find(self, name: str) -> Tuned:
        """The manifest of `name`. NotFound with the names that exist."""
        try:
            return Tuned.read(self.path(name))
        except NotFound:
            names = ", ".join(tuned.name for tuned in self.all())
            if not names:
                raise NotFound(
                    "there is no tuned state or adapter {name!r}; nothing has been tuned yet",
                    name=name,
                ) from None
            raise NotFound(
                "there is no tuned state or adapter {name!r}; there are: {names}",
                name=name,
                names=names,
            ) from None

    def path(self, name: str) -> Path:
        """The folder of `name`. InputError for an invalid name."""
        if not _NAME.fullmatch(name):
            raise InputError(
                "{name!r} is no name for a tuned model; use 1 to 64 letters, digits and - _ "
                "., beginning with a letter or digit",
                name=name,
            )
        return self.folder / name

    def tensors(self, name: str) -> Path:
        """The tensor file of `name`. NotFound; CorruptData where only its manifest is left."""
        path = self.path(name) / FILES[self.find(name).kind]
        if not path.is_file():
            raise CorruptData("{path} is missing; tune or import it again", path=path)
        return path

    @contextmanager
    def adding(self, tuned: Tuned) -> Iterator[Path]:
        """A folder to write the tensor file into; it is stored when the block ends without error.

        Until then it has a temporary name, which `all` and `find` leave out. AlreadyExists for a
        name in use.
        """
        target = self.path(tuned.name)
        self._check_free(target)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        part = Path(tempfile.mkdtemp(prefix=".adding-", dir=self.folder))
        try:
            yield part
            tuned.write(part)
            self._check_free(target)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete temporary folders of killed processes, once they are too old to be in use."""
        for pattern in (".adding-*", ".removing-*"):
            for folder in self.folder.glob(pattern):
                with suppress(OSError):
                    if time.time() - folder.stat().st_mtime > STALE_S:
                        shutil.rmtree(folder, ignore_errors=True)

    def check_free(self, name: str) -> None:
        """InputError for an invalid name or that of a model, AlreadyExists for one in use."""
        if name in (BUILTIN, FAKE):
            raise InputError(
                "{name!r} is the name of a model that is here; choose another name", name=name
            )
        self._check_free(self.path(name))

    def remove(self, name: str) -> None:
        """Delete `name`, damaged or not. NotFound."""
        target = self.path(name)
        if not target.is_dir():
            self.find(name)  # names those that exist
        try:
            gone = Path(tempfile.mkdtemp(prefix=".removing-", dir=self.folder))
            try:
                target.rename(gone / name)  # gone at once for everyone; deleting takes longer
            finally:
                shutil.rmtree(gone, ignore_errors=True)
        except OSError as error:
            raise InputError(
                "{target} cannot be removed ({reason})", target=target, reason=system_reason(error)
            ) from error

    @staticmethod
    def _check_free(target: Path) -> None:
        if target.exists():
            raise AlreadyExists(
                "there is something tuned called {target!r} already; choose another name or "
                "remove it",
                target=target.name,
            )
