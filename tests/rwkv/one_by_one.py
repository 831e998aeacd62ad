"""A `Generator` that runs one request at a time: what the engine's output is compared with.

The model may be any object with `forward` and `step`, so tests can script it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import torch

from rwkv_rag.rwkv.generation import Generation, GenerationFactory
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.types import Delta, Sampling

PREFILL_TOKENS = 1024  # read at a time


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


class OneByOne(Generic[S]):
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
        self._factory = GenerationFactory(tokenizer)
        self._name = name
        self._initial_state = initial_state

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return self._name

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

        Raises InputError at once for arguments that cannot be used; the model is asked only when
        the first delta is.
        """
        return self._stream(
            self._factory.start(
                prompt,
                sampling=sampling,
                max_tokens=max_tokens,
                stop=stop,
                sources=sources,
                refusal=refusal,
            )
        )

    def _stream(self, generation: Generation) -> Iterator[Delta]:
        if not generation.ended:
            logits, state = self._read(generation.prompt_ids)
            while True:
                if new := generation.push(self._factory.token_logits(logits)[0]):
                    yield Delta(new)
                if generation.ended:
                    break
                logits = self._model.step([generation.token], state)
        yield generation.close()

    def _read(self, ids: list[int]) -> tuple[torch.Tensor, S]:
        state = None if self._initial_state is None else self._initial_state.clone()
        for start in range(0, len(ids), PREFILL_TOKENS):
            output = self._model.forward([ids[start : start + PREFILL_TOKENS]], state)
            state = output.state
        return output.logits, output.state
