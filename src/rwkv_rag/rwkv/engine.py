"""One base model for the whole process: generators that share its weights, its thread, its batches.

    generator = engine.generator("poet")     # a tuned state or adapter by name; "" is the base
    for delta in generator.generate(prompt, sampling=GREEDY, max_tokens=64): …

Which state or adapter a generator writes with is looked up at each request, so a result just tuned
is used at once. Knows no templates and no retrieval; `generation` does the same for one caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rwkv_rag.rwkv.scheduler import Request, Scheduler
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.rwkv.tuned import TunedStore
from rwkv_rag.rwkv.views import View, Views
from rwkv_rag.rwkv.writing import Desk, Writing
from rwkv_rag.rwkv.x070 import X070
from rwkv_rag.types import Delta, Sampling


class Engine:
    """A base model at work. All methods may be called from any thread."""

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
        """`base_sha256` tells the hash of the base's file, by which tuned things name their base;
        `state` is where the base itself begins to read (None: from nothing)."""
        self.name = name
        self._desk = Desk(tokenizer)
        self._views = Views(View(model, state), base_sha256, store)
        self._scheduler = Scheduler(self._desk.numbers)

    def generator(self, tuned: str = "") -> EngineGenerator:
        """A `Generator` that writes with the base as tuned under that name on the shelf.

        Raises NotFound, ModelMismatch or CorruptData at once where there is no such thing.
        """
        self._views.get(tuned)
        return EngineGenerator(self, tuned)

    def begin(self, tuned: str, writing: Writing) -> Iterator[Delta]:
        """The deltas of an answer; the tuned file is looked at now, the model asked later."""
        view = self._views.get(tuned)
        return self._run(Request(view.model, view.state, writing))

    def _run(self, request: Request) -> Iterator[Delta]:
        if request.writing.ended:
            yield request.writing.close()
        else:
            yield from self._scheduler.run(request)

    @property
    def desk(self) -> Desk:
        """Where requests are begun."""
        return self._desk

    def close(self) -> None:
        """End the thread; requests under way fail. A later request starts it anew."""
        self._scheduler.close()


class EngineGenerator:
    """Implements `interfaces.Generator`; any number of them, in any threads, share an engine."""

    def __init__(self, engine: Engine, tuned: str) -> None:
        self._engine = engine
        self._tuned = tuned

    @property
    def name(self) -> str:
        """The model's name, and what it was tuned to."""
        return f"{self._engine.name} + {self._tuned}" if self._tuned else self._engine.name

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self._engine.desk.tokenizer.encode(text))

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

        Raises at once what is wrong with the arguments or the tuned file; Busy with the first delta
        where too many others wait. The text is written on while the caller does other things.
        """
        writing = self._engine.desk.begin(
            prompt,
            sampling=sampling,
            max_tokens=max_tokens,
            stop=stop,
            sources=sources,
            refusal=refusal,
        )
        return self._engine.begin(self._tuned, writing)
