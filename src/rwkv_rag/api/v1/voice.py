"""A generator as one request wants it: with its temperature, its length, its stops, its count.

Knows nothing of the model behind it, and is itself a `Generator`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rwkv_rag.api.flow import close
from rwkv_rag.api.v1.conversation import sampling_of, stops_of
from rwkv_rag.api.v1.shapes import ChatRequest
from rwkv_rag.interfaces import Generator
from rwkv_rag.types import Delta, Sampling


@dataclass(slots=True)
class Voice:
    """Writes as `asked`; `prompt_tokens` and `completion_tokens` grow with every text written.

    Where the text is bound to sources, only its length is the caller's to choose.
    """

    generator: Generator
    asked: ChatRequest
    prompt_tokens: int = 0
    completion_tokens: int = 0
    used: bool = field(default=False)

    @property
    def name(self) -> str:
        return self.generator.name

    def count_tokens(self, text: str) -> int:
        return self.generator.count_tokens(text)

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
        """See `rwkv_rag.interfaces.Generator`."""
        self.used = True
        wanted = self.asked.max_completion_tokens or self.asked.max_tokens
        free = sources is None
        deltas = self.generator.generate(
            prompt,
            sampling=sampling_of(self.asked, sampling) if free else sampling,
            max_tokens=wanted or max_tokens,
            stop=(*stop, *stops_of(self.asked)) if free else stop,
            sources=sources,
            refusal=refusal,
        )
        return self._counted(prompt, deltas)

    def _counted(self, prompt: str, deltas: Iterator[Delta]) -> Iterator[Delta]:
        """Counts at the end, so that nobody waits for it before the first word."""
        pieces = []
        try:
            for delta in deltas:
                pieces.append(delta.text)
                if delta.finish:
                    self.prompt_tokens += self.count_tokens(prompt)
                    self.completion_tokens += self.count_tokens("".join(pieces))
                yield delta
        finally:
            close(deltas)
