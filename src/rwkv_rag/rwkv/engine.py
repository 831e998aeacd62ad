"""One base model for the whole process: its generators share the weights, a thread and batches.

    generator = engine.generator("poet")     # a tuned state or adapter by name; "" is the base
    for delta in generator.generate(prompt, sampling=GREEDY, max_tokens=64): …

The tuned state or adapter is looked up at each request, so one that was just tuned is used at once.
Knows no templates and no retrieval.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rwkv_rag.errors import CorruptData, InputError, UnsupportedModel
from rwkv_rag.rwkv.adapter import Adapter
from rwkv_rag.rwkv.checkpoint import read_tensors
from rwkv_rag.rwkv.generation import Generation, GenerationFactory
from rwkv_rag.rwkv.layout import Shape
from rwkv_rag.rwkv.scheduler import Request, Scheduler
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.rwkv.tuned import FILES, MANIFEST, TunedStore
from rwkv_rag.rwkv.x070 import X070
from rwkv_rag.types import Delta, Sampling

CACHED = 8  # tuned states and adapters kept in memory

Stamp = tuple[tuple[int, int, int], ...]


class Engine:
    """A base model that generates. All methods may be called from any thread."""

    def __init__(
        self,
        model: X070,
        tokenizer: Tokenizer,
        *,
        name: str,
        base_sha256: Callable[[], str],
        store: TunedStore,
        state: State | None = None,
    ) -> None:
        """`base_sha256` gives the hash of the base's file, by which tuned results name their base;
        `state` is where the base itself begins to read (None: from nothing)."""
        self.name = name
        self._factory = GenerationFactory(tokenizer)
        self._variants = VariantCache(Variant(model, state), base_sha256, store)
        self._scheduler = Scheduler(self._factory.token_logits)

    def generator(self, tuned: str = "") -> EngineGenerator:
        """A `Generator` with the tuned state or adapter of that name; "" is the base.

        Raises NotFound, ModelMismatch or CorruptData at once where it cannot be used.
        """
        self._variants.get(tuned)
        return EngineGenerator(self, self._factory, tuned)

    def run(self, tuned: str, generation: Generation) -> Iterator[Delta]:
        """The deltas of a generation. The tuned file is checked now, the model runs later."""
        variant = self._variants.get(tuned)
        return self._deltas(Request(variant.model, variant.state, generation))

    def _deltas(self, request: Request) -> Iterator[Delta]:
        if request.generation.ended:
            yield request.generation.close()
        else:
            yield from self._scheduler.run(request)

    def close(self) -> None:
        """End the thread; unfinished requests fail. A later request starts it anew."""
        self._scheduler.close()


class EngineGenerator:
    """Implements `interfaces.Generator`; any number of them, in any threads, share an engine."""

    def __init__(self, engine: Engine, factory: GenerationFactory, tuned: str) -> None:
        self._engine = engine
        self._factory = factory
        self._tuned = tuned

    @property
    def name(self) -> str:
        """The model's name, with that of the tuned state or adapter."""
        return f"{self._engine.name} + {self._tuned}" if self._tuned else self._engine.name

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self._factory.tokenizer.encode(text))

    def generate(
        self,
        prompt: str,
        *,
        sampling: Sampling,
        max_tokens: int,
        stop: Sequence[str] = (),
        sources: Sequence[str] | None = None,
        refusal: str = "",
    ) -> Iterator[Delta]:
        """Stream the continuation of `prompt`; see `rwkv_rag.interfaces.Generator`.

        Errors in the arguments or the tuned file are raised at once, Busy with the first delta if
        too many requests wait. Generation goes on while the caller does other things.
        """
        generation = self._factory.start(
            prompt,
            sampling=sampling,
            max_tokens=max_tokens,
            stop=stop,
            sources=sources,
            refusal=refusal,
        )
        return self._engine.run(self._tuned, generation)


@dataclass(frozen=True, slots=True)
class Variant:
    """A model, with or without an adapter, and the state it begins to read from (None: nothing)."""

    model: X070
    state: State | None


class VariantCache:
    """What tuned states and adapters make of one base, by name; "" is the base. Thread-safe.

    Variants share the weights of the base. The last few are kept; a file that changes is read anew.
    """

    def __init__(self, base: Variant, base_sha256: Callable[[], str], store: TunedStore) -> None:
        """`base_sha256` is called when first needed: hashing a large file takes seconds."""
        self._base = base
        self._base_sha256 = base_sha256
        self._store = store
        self._lock = threading.Lock()
        self._cached: OrderedDict[str, tuple[Stamp, Variant]] = OrderedDict()

    def get(self, name: str) -> Variant:
        """The variant called `name`.

        NotFound; ModelMismatch for one tuned on another base; CorruptData; InputError for a whole
        model, which does not run on this base.
        """
        if not name:
            return self._base
        with self._lock:
            stamp = _stamp(self._store.path(name))
            cached = self._cached.pop(name, None)
            variant = cached[1] if cached and cached[0] == stamp else self._load(name)
            self._cached[name] = stamp, variant
            while len(self._cached) > CACHED:
                self._cached.popitem(last=False)
            return variant

    def _load(self, name: str) -> Variant:
        tuned = self._store.find(name)
        if tuned.kind == "model":
            raise InputError(
                "{name!r} is a whole model, not a change of one; choose it as model", name=name
            )
        tuned.check_base(self._base_sha256())
        file, shape = self._store.tensors(name), self._base.model.shape
        if tuned.kind == "adapter":
            model = self._base.model.adapted(Adapter.load(file, shape))
            return Variant(model, self._base.state)
        return Variant(self._base.model, _load_state(file, shape))


def _load_state(file: Path, shape: Shape) -> State:
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
    """Changes when a file in the folder is written anew."""
    found = []
    for name in (MANIFEST, *FILES.values()):
        try:
            status = (folder / name).stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
