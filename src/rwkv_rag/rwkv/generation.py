"""One generation: logits in, tokens and text out, either free text or quoted from given sources.

`GenerationFactory` checks the arguments of a request and starts a `Generation`. Its user runs the
model: it reads the prompt, hands the logits to `Generation.push`, reads the token that was drawn,
and so on until the generation has ended. Knows tokens and text, and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from rwkv_rag.errors import InputError, ModelMismatch
from rwkv_rag.rwkv.grounding import Grounding, Passages, TokenTrie
from rwkv_rag.rwkv.sampling import Sampler, unpenalised_tokens
from rwkv_rag.rwkv.tokenizer import END_OF_TEXT, StreamDecoder, Tokenizer
from rwkv_rag.types import Delta, Sampling

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

Finish = Literal["", "stop", "length", "refusal"]


class GenerationFactory:
    """Starts generations; keeps what is computed once for a tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def start(
        self,
        prompt: str,
        *,
        sampling: Sampling,
        max_tokens: int,
        stop: Sequence[str] = (),
        sources: Sequence[str] | None = None,
        refusal: str = "",
    ) -> Generation:
        """A generation with its arguments checked; see `interfaces.Generator.generate`.

        Raises InputError. A grounded answer that is cut short ends after its last whole word.
        """
        if max_tokens <= 0:
            raise InputError(
                "max_tokens is {max_tokens}; it must be at least 1", max_tokens=max_tokens
            )
        prompt_ids = self.tokenizer.encode(prompt)
        if not prompt_ids:
            raise InputError("the prompt is empty; give the model something to continue")
        penalises = sampling.presence_penalty or sampling.frequency_penalty
        unpenalised = self._unpenalised if penalises else frozenset[int]()
        sampler = Sampler(sampling, self.tokenizer.vocab_size, unpenalised=unpenalised)
        if sources is None:
            return Generation(prompt_ids, sampler, _FreeText(self.tokenizer, stop), max_tokens)
        grounding = Grounding(Passages(sources), self._trie, refusal=refusal)
        text = _QuotedText(grounding, stop, refusal)
        return Generation(prompt_ids, sampler, text, max_tokens)

    def token_logits(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """Logits (B, rows of the LM head) without the rows that belong to no token."""
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


class Generation:
    """One generation in progress. `prompt_ids` are the prompt's tokens, `token` the last one drawn.

    While not `ended`: let the model read the prompt, then each `token`; pass the logits to `push`.
    """

    def __init__(
        self, prompt_ids: list[int], sampler: Sampler, text: _Text, max_tokens: int
    ) -> None:
        self.prompt_ids = prompt_ids
        self.token = END_OF_TEXT
        self._sampler = sampler
        self._text = text
        self._left = max_tokens

    @property
    def ended(self) -> bool:
        """Whether no further token is wanted; with sources that hold no text, none ever is."""
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
    """The text of the tokens so far; `finish` is the reason why it has ended, or empty."""

    finish: Finish

    def allowed(self) -> NDArray[np.intp] | None:
        """The tokens that may come next; None: all."""

    def push(self, token: int) -> str:
        """Add a token; returns the text that has become certain."""

    def close(self) -> Delta:
        """The last delta."""


class _FreeText:
    """Any text, up to a stop string."""

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
        """What was held back, less a character of which only some bytes came."""
        return Delta(self._stops.flush(), self.finish or "length")


class _QuotedText:
    """A span of the sources or the refusal; text is given out once it surely is in the answer."""

    def __init__(self, grounding: Grounding, stop: Sequence[str], refusal: str) -> None:
        self._grounding = grounding
        self._stops = StopMatcher(stop)
        self._refusal = refusal
        self._matched = 0  # characters passed to the stop matcher
        self._safe = 0  # characters that hold no stop string
        self._given = 0  # characters given out
        self.finish: Finish = "refusal" if grounding.refuses else ""

    def allowed(self) -> NDArray[np.intp]:
        return self._grounding.allowed()

    def push(self, token: int) -> str:
        if not self._grounding.push(token) or self._grounding.decided:
            self.finish = "refusal" if self._grounding.refuses else "stop"
        text = self._grounding.text
        self._safe += len(self._stops.push(text[self._matched :]))
        self._matched = len(text)
        if self._stops.stopped:
            self.finish = "stop"
        return "" if self._grounding.may_refuse else self._new_text()

    def close(self) -> Delta:
        if self.finish == "refusal" or (not self.finish and self._grounding.refuses):
            return Delta(self._refusal, "refusal")
        self._safe += len(self._stops.flush())
        span = self._grounding.quote(self._safe)
        return Delta(self._new_text(), self.finish or "length", span)

    def _new_text(self) -> str:
        settled = self._grounding.settled(self._safe)
        new = settled[self._given :]
        self._given = len(settled)
        return new


class StopMatcher:
    """Cuts a stream of text where the first of the stop strings begins.

    A stop string such as "\\n\\nUser:" is spread over several tokens, so text that may be the
    beginning of one is held back. However the stream is divided, the text given out is the whole
    text up to the leftmost occurrence of any stop string.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Raises InputError for an empty stop string, which would stop everywhere."""
        if isinstance(stops, str) or not all(stops):
            raise InputError(
                "stop strings must be a list of non-empty texts, not {stops!r}", stops=stops
            )
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Add text; returns what has become certain. Once `stopped`, further text is dropped."""
        if self.stopped:
            return ""
        self._held += text
        cut = self._first_stop()
        pending = self._first_pending()
        if cut is not None and cut <= pending:
            self.stopped = True
            return self._release(cut)
        return self._release(pending)

    def flush(self) -> str:
        """The text has ended: returns what was held back, cut at a complete stop string."""
        cut = self._first_stop()
        self.stopped = self.stopped or cut is not None
        return self._release(len(self._held) if cut is None else cut)

    def _release(self, length: int) -> str:
        certain = self._held[:length]
        self._held = "" if self.stopped else self._held[length:]
        return certain

    def _first_stop(self) -> int | None:
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        return min(found, default=None)

    def _first_pending(self) -> int:
        """Where a text begins that may still grow into a stop string; the end if nowhere."""
        length = len(self._held)
        for start in range(max(0, length - self._longest + 1), length):
            rest = self._held[start:]
            if any(stop.startswith(rest) for stop in self._stops):
                return start
        return length
