"""Text out of a language model: prompt in, a stream of deltas out, free or bound to sources.

Knows tokens and text; the model only as `LanguageModel`, and nothing of templates, retrieval or
citations. One pass: read the prompt, then allowed tokens -> sampler -> text -> model, until an end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from rwkv_rag.errors import InputError, ModelMismatch
from rwkv_rag.rwkv.grounding import Grounding, Passages, TokenTrie
from rwkv_rag.rwkv.sampling import Sampler, unpenalised_tokens
from rwkv_rag.rwkv.stops import StopMatcher
from rwkv_rag.rwkv.tokenizer import END_OF_TEXT, StreamDecoder, Tokenizer
from rwkv_rag.types import Delta, Sampling, SourceSpan

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

PREFILL_TOKENS = 1024  # read at a time: bounds the memory that a long prompt takes

Finish = Literal["", "stop", "length", "refusal"]


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
        self._tokenizer = tokenizer
        self._name = name
        self._initial_state = initial_state

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return self._name

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` takes."""
        return len(self._tokenizer.encode(text))

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
        the first delta is. A grounded answer that is cut short ends after its last whole word.
        """
        if max_tokens <= 0:
            raise InputError(f"max_tokens is {max_tokens}; it must be at least 1")
        ids = self._tokenizer.encode(prompt)
        if not ids:
            raise InputError("the prompt is empty; give the model something to continue")
        unpenalised = self._unpenalised if _penalises(sampling) else frozenset[int]()
        sampler = Sampler(sampling, self._tokenizer.vocab_size, unpenalised=unpenalised)
        if sources is None:
            return self._stream(ids, sampler, _FreeText(self._tokenizer, stop), max_tokens)
        grounding = Grounding(Passages(sources), self._trie, refusal=refusal)
        return self._stream(ids, sampler, _QuotedText(grounding, stop, refusal), max_tokens)

    def _stream(
        self, ids: list[int], sampler: Sampler, text: _FreeText | _QuotedText, max_tokens: int
    ) -> Iterator[Delta]:
        if not text.finish:
            logits, state = self._read(ids)
            for left in reversed(range(max_tokens)):
                token = sampler.draw(logits, text.allowed())
                if new := text.push(token):
                    yield Delta(new)
                if text.finish or not left:
                    break
                logits = self._numbers(self._model.step([token], state))
        yield text.close()

    def _read(self, ids: list[int]) -> tuple[NDArray[np.float32], S]:
        state = None if self._initial_state is None else self._initial_state.clone()
        for start in range(0, len(ids), PREFILL_TOKENS):
            output = self._model.forward([ids[start : start + PREFILL_TOKENS]], state)
            state = output.state
        return self._numbers(output.logits), output.state

    def _numbers(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """Logits of the only sequence, without the rows that models have beyond the tokens."""
        size = self._tokenizer.vocab_size
        if logits.shape[-1] < size:
            raise ModelMismatch(
                f"the model knows {logits.shape[-1]} tokens and its tokenizer {size}; "
                "use the vocabulary file that the model was trained with"
            )
        numbers: NDArray[np.float32] = logits[0, :size].detach().float().cpu().numpy()
        return numbers

    @cached_property
    def _trie(self) -> TokenTrie:
        return TokenTrie(self._tokenizer.token_bytes, self._tokenizer.vocab_size)

    @cached_property
    def _unpenalised(self) -> frozenset[int]:
        return unpenalised_tokens(self._tokenizer.token_bytes, self._tokenizer.vocab_size)


def _penalises(sampling: Sampling) -> bool:
    return bool(sampling.presence_penalty or sampling.frequency_penalty)


class _FreeText:
    """Any text up to a stop string; `finish` is set once it has ended."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._decoder = StreamDecoder(tokenizer)
        self._stops = StopMatcher(stop)
        self.finish: Finish = ""

    def allowed(self) -> None:
        """No restriction."""

    def push(self, token: int) -> str:
        if token == END_OF_TEXT:
            self.finish = "stop"
            return ""
        text = self._stops.push(self._decoder.push(token))
        if self._stops.stopped:
            self.finish = "stop"
        return text

    def close(self) -> Delta:
        """The end: what was held back, less a character of which only some bytes came."""
        return Delta(self._stops.flush(), self.finish or "length")


class _QuotedText:
    """A span of the sources or the refusal; shown only what is certainly part of the answer."""

    def __init__(self, grounding: Grounding, stop: Sequence[str], refusal: str) -> None:
        self._grounding = grounding
        self._stops = StopMatcher(stop)
        self._refusal = refusal
        self._seen = 0  # characters handed to the stop matcher
        self._safe = 0  # characters that hold no stop string
        self._shown = 0
        self.finish: Finish = "refusal" if grounding.refuses else ""

    def allowed(self) -> NDArray[np.intp]:
        return self._grounding.allowed()

    def push(self, token: int) -> str:
        if not self._grounding.push(token) or self._grounding.decided:
            self.finish = "refusal" if self._grounding.refuses else "stop"
        text = self._grounding.text
        self._safe += len(self._stops.push(text[self._seen :]))
        self._seen = len(text)
        if self._stops.stopped:
            self.finish = "stop"
        return "" if self._grounding.may_refuse else self._news()

    def close(self) -> Delta:
        if self.finish == "refusal" or (not self.finish and self._grounding.refuses):
            return Delta(self._refusal, "refusal")
        self._safe += len(self._stops.flush())
        return Delta(self._news(), self.finish or "length", self._span())

    def _news(self) -> str:
        settled = self._grounding.settled(self._safe)
        new = settled[self._shown :]
        self._shown = len(settled)
        return new

    def _span(self) -> SourceSpan | None:
        return self._grounding.quote(self._safe)
