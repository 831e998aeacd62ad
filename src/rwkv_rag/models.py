"""Which models there are, where their files lie, and each of them in memory once.

`builders` makes services of what is loaded here. Heavy libraries are imported within functions.
Knows no knowledge base and no question.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from rwkv_rag.config import BUILTIN, FAKE, Settings
from rwkv_rag.errors import CorruptData, NotFound, RagError
from rwkv_rag.types import TunedInfo, Writer

if TYPE_CHECKING:
    from rwkv_rag.encoders.base import Base
    from rwkv_rag.encoders.manifest import Manifest
    from rwkv_rag.interfaces import Generator
    from rwkv_rag.rag.answering import Answering
    from rwkv_rag.rwkv.engine import Engine
    from rwkv_rag.rwkv.tuned import Tuned, TunedStore
    from rwkv_rag.tuning.settings import BaseFiles

PACKAGE = Path(__file__).parent
BUILTIN_MODEL = PACKAGE / "builtin"
BUILTIN_WEIGHTS = BUILTIN_MODEL / "model.safetensors"
BUILTIN_VOCABULARY = BUILTIN_MODEL / "vocab.txt"
WORLD_VOCABULARY = PACKAGE / "rwkv" / "rwkv_vocab_v20230424.txt"

Stamp = tuple[int, int]
_opening = threading.RLock()  # two callers must not load one model twice


class Writers:
    """Implements `interfaces.Models` over a home: the model it is set up with, the one in the
    package, and whole models that were tuned; `Settings.model` "fake" knows only itself."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = tuned_store(settings)

    def writers(self) -> list[Writer]:
        """The models that can write as they are; the first is the one in use."""
        if self._settings.model == FAKE:
            return [_writer(FAKE)]
        known = [self._first(), BUILTIN]
        for tuned in self._store.all():
            if tuned.kind == "model":
                with suppress(CorruptData):  # one whose file is gone writes nothing
                    known.append(str(self._store.tensors(tuned.name)))
        return [_writer(model) for model in dict.fromkeys([*known, self._settings.model])]

    def _first(self) -> str:
        try:
            return model_in_use(self._settings)
        except RagError:  # `writer` raises it
            return self._settings.model

    def tuned(self, model: str) -> list[TunedInfo]:
        """The states and adapters that fit `model`, by name."""
        model = self._known(model) if model else self.writer("", "").model
        changes = [each for each in self._store.all() if each.kind != "model"]
        if model == FAKE or not changes:
            return []
        base = _base_sha256(model)
        return [
            TunedInfo(each.name, each.kind, each.method, each.before, each.after)
            for each in changes
            if each.base == base
        ]

    def writer(self, model: str, tuned: str) -> Writer:
        """The model that writes for `model` and `tuned`; empty: as it is set up.

        Without a model, `tuned` takes the place of what is set up; with one it is all there is.
        """
        if not model:
            model, tuned = self._settings.model, tuned or self._settings.tuned
        model = self._known(model)
        if tuned and model == FAKE:
            raise NotFound(
                "the stand-ins cannot write with {tuned!r}; leave it out or choose a model",
                tuned=tuned,
            )
        if tuned and (found := self._store.find(tuned)).kind == "model":
            return _writer(str(self._store.tensors(tuned)))
        if tuned:
            self._store.tensors(tuned)
            found.check_base(_base_sha256(model))
        return _writer(model, tuned)

    def _known(self, model: str) -> str:
        """`model`, if it is one of ours: a request must not have just any file opened."""
        if model in (self._settings.model, BUILTIN):
            return model
        with suppress(RagError):
            name = Path(model).parent.name
            tuned = self._store.find(name)
            if tuned.kind == "model" and model == str(self._store.tensors(name)):
                return model
        names = ", ".join(each.name for each in self.writers())
        raise NotFound("no model {model!r} here; there are: {names}", model=model, names=names)


def _writer(model: str, tuned: str = "") -> Writer:
    """A model as it writes with a state or adapter."""
    if model == FAKE:
        return Writer(FAKE, FAKE, writes=True)
    origin = tuned_model_at(Path(model)) if model != BUILTIN else None
    name = origin.name if origin else base_files(model).name
    label = " + ".join(filter(None, (origin.name if origin else "", tuned)))
    own = model != BUILTIN and origin is None
    return Writer(
        name=f"{name} + {tuned}" if tuned else name,
        model=model,
        tuned=tuned,
        own=own,
        writes=own or bool(label) or manifest().writes,
        label=label,
    )


def answering(writer: Writer) -> Answering:
    """How answers are made with `writer`: the strategy its models were measured best at.

    Strict answers are the reader's unless the model is the user's own; what was tuned writes the
    others.
    """
    from rwkv_rag.rag.answering import Answering

    if writer.own:
        return Answering(strategy="ground", writes=True, writer=writer.label)
    measured = None if writer.model == FAKE else manifest()
    return Answering(
        strategy="read",
        threshold=measured.relevance if measured else 0.0,
        rank_weight=measured.rank_weight if measured else 0.0,
        writes=writer.writes,
        writer=writer.label,
    )


def open_generator(home: Path, writer: Writer) -> Generator:
    """The model that writes as `writer`; in memory once for the whole process.

    Raises NotFound, ModelMismatch, CorruptData or UnsupportedModel.
    """
    if writer.model == FAKE:
        from rwkv_rag.testing import CopyGenerator

        return CopyGenerator()
    files = base_files(writer.model)
    with _opening:
        engine = _engine(files, home, _stamp(files.model))
    return engine.generator(writer.tuned)


def base_files(model: str) -> BaseFiles:
    """The files of a base: "builtin" or the path of a checkpoint.

    The vocabulary lies beside the checkpoint as vocab.txt, else it is the World vocabulary.
    """
    from rwkv_rag.tuning.settings import BaseFiles

    if model == BUILTIN:
        return BaseFiles(BUILTIN, BUILTIN_WEIGHTS, BUILTIN_VOCABULARY)
    path = Path(model).expanduser().absolute()
    tuned = tuned_model_at(path)
    beside = path.parent / "vocab.txt"
    vocabulary = beside if beside.exists() else WORLD_VOCABULARY
    return BaseFiles(tuned.name if tuned else path.stem, path, vocabulary)


def tuned_store(settings: Settings) -> TunedStore:
    """The store of everything tuned in this home."""
    from rwkv_rag.rwkv.tuned import TunedStore

    return TunedStore(settings.home)


def model_in_use(settings: Settings) -> str:
    """The name or path of the model that is set up: where a whole model was tuned, that one.

    Raises NotFound or CorruptData for what is not stored.
    """
    if settings.tuned and settings.model != FAKE:
        tuned = tuned_store(settings).find(settings.tuned)
        if tuned.kind == "model":
            return str(tuned_store(settings).tensors(tuned.name))
    return settings.model


def tuned_model_at(path: Path) -> Tuned | None:
    """What was tuned, if that is where a model comes from."""
    from rwkv_rag.rwkv.tuned import FILES, Tuned

    try:
        tuned = Tuned.read(path.parent)
    except (NotFound, CorruptData):
        return None
    return tuned if path.name == FILES["model"] == FILES[tuned.kind] else None


def manifest() -> Manifest:
    """What is known of the model in the package; read without torch."""
    from rwkv_rag.encoders.manifest import Manifest

    return Manifest.read(BUILTIN_MODEL)


def builtin() -> Base:
    """The model in the package, in memory once for all its roles."""
    with _opening:
        return _builtin()


@cache
def _builtin() -> Base:
    from rwkv_rag.encoders.base import Base

    return Base(BUILTIN_MODEL)


@lru_cache(maxsize=2)
def _engine(files: BaseFiles, home: Path, _: Stamp) -> Engine:
    from rwkv_rag.rwkv.engine import Engine
    from rwkv_rag.rwkv.state import State
    from rwkv_rag.rwkv.tuned import TunedStore

    sha256 = partial(_sha256, files.model, _stamp(files.model))
    if files.model == BUILTIN_WEIGHTS:
        base = builtin()
        made = base.model, base.tokenizer
        return Engine(*made, name=BUILTIN, base_sha256=sha256, store=TunedStore(home))
    from rwkv_rag.rwkv.checkpoint import load_checkpoint
    from rwkv_rag.rwkv.tokenizer import Tokenizer
    from rwkv_rag.rwkv.x070 import X070

    checkpoint = load_checkpoint(files.model)
    name, rows = files.model.name, checkpoint.shape.vocab
    tokenizer = Tokenizer.for_model(files.vocabulary, model=name, rows=rows)
    return Engine(
        X070(checkpoint),
        tokenizer,
        name=files.name,
        base_sha256=sha256,
        store=TunedStore(home),
        state=State.of_checkpoint(checkpoint.extras, checkpoint.shape),
    )


def _base_sha256(model: str) -> str:
    """The hash of a base's file, by which tuned things name it."""
    path = base_files(model).model
    return _sha256(path, _stamp(path))


@lru_cache(maxsize=32)
def _sha256(path: Path, _: Stamp) -> str:
    from rwkv_rag.rwkv.checkpoint import file_sha256

    return file_sha256(path)


def _stamp(path: Path) -> Stamp:
    """Changes when a file is written again; (0, 0) where there is none."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_mtime_ns, status.st_size
