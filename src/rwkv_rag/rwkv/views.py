"""A base as it was tuned: what a name on the shelf makes of the model in memory.

A tuned state is where reading begins, an adapter a view of the model with pairs added; both cost
little beside the base, and the last few stay in memory. A file that changes is read anew. Knows no
text and no requests.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from rwkv_rag.errors import CorruptData, InputError, UnsupportedModel
from rwkv_rag.rwkv.adapter import Adapter
from rwkv_rag.rwkv.checkpoint import read_tensors
from rwkv_rag.rwkv.layout import Shape
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tuned import FILES, MANIFEST, TunedStore
from rwkv_rag.rwkv.x070 import X070

KEPT = 8  # states and adapters in memory

Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class View:
    """A model and the state its reading begins from (None: from nothing)."""

    model: X070
    state: State | None


class Views:
    """The views of one base by name; "" is the base itself. Safe to use from several threads."""

    def __init__(self, base: View, base_sha256: Callable[[], str], store: TunedStore) -> None:
        """`base_sha256` is called when first needed: hashing a large file takes seconds."""
        self._base = base
        self._base_sha256 = base_sha256
        self._store = store
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Stamp, View]] = OrderedDict()

    def get(self, name: str) -> View:
        """The view called `name`.

        NotFound; ModelMismatch for one tuned on another base; CorruptData; InputError for a whole
        model, which is no view of this one.
        """
        if not name:
            return self._base
        with self._lock:
            stamp = _stamp(self._store.path(name))
            kept = self._kept.pop(name, None)
            view = kept[1] if kept and kept[0] == stamp else self._load(name)
            self._kept[name] = stamp, view
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return view

    def _load(self, name: str) -> View:
        tuned = self._store.find(name)
        if tuned.kind == "model":
            raise InputError(
                "{name!r} is a whole model, not a change of one; choose it as model", name=name
            )
        tuned.check_base(self._base_sha256())
        file, shape = self._store.tensors(name), self._base.model.shape
        if tuned.kind == "adapter":
            view = self._base.model.adapted(Adapter.load(file, shape))
            return View(view, self._base.state)
        return View(self._base.model, _state(file, shape))


def _state(file: Path, shape: Shape) -> State:
    try:
        tensors, _ = read_tensors(file)
    except UnsupportedModel as error:
        reason = str(error).split("; ")[0]
        raise CorruptData(
            "{file} holds no state ({reason}); tune or import it again", file=file, reason=reason
        ) from error
    state = State.from_time_state(tensors, shape)
    if not torch.isfinite(state.wkv).all():
        raise CorruptData("{file} holds numbers that are none; tune or import it again", file=file)
    return state


def _stamp(folder: Path) -> Stamp:
    """What changes when a file in the folder is written anew."""
    found = []
    for name in (MANIFEST, *FILES.values()):
        try:
            status = (folder / name).stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
