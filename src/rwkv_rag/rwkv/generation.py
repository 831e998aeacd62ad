"""Text out of a language model: prompt in, a stream of deltas out, one request at a time.

Knows the model only as `LanguageModel`, and nothing of templates, retrieval or citations. One
pass: read the prompt, then logits -> `writing` -> token -> model, until an end. `engine` does the
same for many requests at once; this is what its output is tested against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.rwkv.writing import Desk, Writing
from rwkv_rag.types import Delta, Sampling

if TYPE_CHECKING:
    import torch

PREFILL_TOKENS = 1024  # read at a time: bounds the memory that a long prompt takes


class State(Protocol):
    """All a model remembers of what it has read."""

    def clone(self: S) -> S:
        """A copy that reading on from the original leaves as it is."""


S = TypeVar("S", bound=State)
S_co = TypeVar("S_co", bound=State, covariant=True)


class Output(Protocol[S_co]):
    """What reading returns."""

    @property
    def logits(self) -> torch.Tensor:
        """Logits after the last token, (batch, vocabulary)."""

    @property
    def state(self) -> S_co:
        """The state after the last token."""


class LanguageModel(Protocol[S]):
    """What generation needs of a model; both methods may change the state they are given."""

    def forward(self, tokens: Sequence[Sequence[int]], state: S | None = None) -> Output[S]:
        """Read sequences of token ids from `state` (None: from nothing)."""

    def step(self, tokens: Sequence[int], state: S) -> torch.Tensor:
        """Read one token a sequence into `state`; logits of shape (batch, vocabulary)."""


class RwkvGenerator(Generic[S]):
    """A `Generator` on a model and its tokenizer, optionally reading on from a tuned state."""

    def __init__(
        self,
        model: LanguageModel[S],
        tokenizer: Tokenizer,
        *,
        name: str,
        initial_state: S | None = None,
    ) -> None:
        """`initial_state` is of one sequence; it is copied for each generation."""
        self._model = model
        self._desk = Desk(tokenizer)
        self._name = name
        self._initial_state = initial_state

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return self._name

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self._desk.tokenizer.encode(text))

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

        Raises InputError at once for arguments that cannot be used; the model is asked only when
        the first delta is.
        """
        return self._stream(
            self._desk.begin(
                prompt,
                sampling=sampling,
                max_tokens=max_tokens,
                stop=stop,
                sources=sources,
                refusal=refusal,
            )
        )

    def _stream(self, writing: Writing) -> Iterator[Delta]:
        if not writing.ended:
            logits, state = self._read(writing.ids)
            while True:
                if new := writing.push(self._desk.numbers(logits)[0]):
                    yield Delta(new)
                if writing.ended:
                    break
                logits = self._model.step([writing.token], state)
        yield writing.close()

    def _read(self, ids: list[int]) -> tuple[torch.Tensor, S]:
        state = None if self._initial_state is None else self._initial_state.clone()
        for start in range(0, len(ids), PREFILL_TOKENS):
            output = self._model.forward([ids[start : start + PREFILL_TOKENS]], state)
            state = output.state
        return output.logits, output.state
