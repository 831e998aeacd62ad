"""One answer in the making: logits in, tokens to read next and text out, free or bound to sources.

    Desk        what all answers of one tokenizer share; begins a `Writing` for each request
    Writing     allowed tokens -> sampler -> text, until an end; then the last delta

Knows tokens and text, and no model: whoever runs one hands over its logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

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

Finish = Literal["", "stop", "length", "refusal"]


class Desk:
    """Where answers are begun: a tokenizer and what is derived from it once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def begin(
        self,
        prompt: str,
        *,
        sampling: Sampling,
        max_tokens: int,
        stop: Sequence[str] = (),
        sources: Sequence[str] | None = None,
        refusal: str = "",
    ) -> Writing:
        """A request with its arguments checked; see `rwkv_rag.interfaces.Generator.generate`.

        Raises InputError. A grounded answer that is cut short ends after its last whole word.
        """
        if max_tokens <= 0:
            raise InputError(
                "max_tokens is {max_tokens}; it must be at least 1", max_tokens=max_tokens
            )
        ids = self.tokenizer.encode(prompt)
        if not ids:
            raise InputError("the prompt is empty; give the model something to continue")
        unpenalised = self._unpenalised if _penalises(sampling) else frozenset[int]()
        sampler = Sampler(sampling, self.tokenizer.vocab_size, unpenalised=unpenalised)
        if sources is None:
            return Writing(ids, sampler, _FreeText(self.tokenizer, stop), max_tokens)
        grounding = Grounding(Passages(sources), self._trie, refusal=refusal)
        return Writing(ids, sampler, _QuotedText(grounding, stop, refusal), max_tokens)

    def numbers(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """Logits (B, vocabulary) without the rows that models have beyond the tokens."""
        size = self.tokenizer.vocab_size
        if logits.shape[-1] < size:
            raise ModelMismatch(
                "the model knows {shape} tokens and its tokenizer {size}; use the vocabulary "
                "file that the model was trained with",
                shape=logits.shape[-1],
                size=size,
            )
        numbers: NDArray[np.float32] = logits[:, :size].detach().float().cpu().numpy()
        return numbers

    @cached_property
    def _trie(self) -> TokenTrie:
        return TokenTrie(self.tokenizer.token_bytes, self.tokenizer.vocab_size)

    @cached_property
    def _unpenalised(self) -> frozenset[int]:
        return unpenalised_tokens(self.tokenizer.token_bytes, self.tokenizer.vocab_size)


def _penalises(sampling: Sampling) -> bool:
    return bool(sampling.presence_penalty or sampling.frequency_penalty)


class Writing:
    """One answer in the making. `ids` are the prompt's; `token` was drawn last.

    While not `ended`: read the prompt, then each `token`, and hand the logits to `push`.
    """

    def __init__(self, ids: list[int], sampler: Sampler, text: _Text, max_tokens: int) -> None:
        self.ids = ids
        self.token = END_OF_TEXT
        self._sampler = sampler
        self._text = text
        self._left = max_tokens

    @property
    def ended(self) -> bool:
        """Whether no further token is wanted; grounded in sources without text, none ever is."""
        return bool(self._text.finish) or not self._left

    def push(self, logits: NDArray[np.float32]) -> str:
        """Draw the next token from logits (vocabulary,); returns the text that is now certain."""
        self.token = self._sampler.draw(logits, self._text.allowed())
        self._left -= 1
        return self._text.push(self.token)

    def close(self) -> Delta:
        """The last delta, once `ended`."""
        return self._text.close()


class _Text(Protocol):
    """What has come of the tokens so far; `finish` is set once it has ended."""

    finish: Finish

    def allowed(self) -> NDArray[np.intp] | None:
        """The tokens that may come next; None: all."""

    def push(self, token: int) -> str:
        """Take a token; returns the text that has become certain."""

    def close(self) -> Delta:
        """The end."""


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
