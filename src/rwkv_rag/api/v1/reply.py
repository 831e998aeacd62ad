"""A chat answer on its way into OpenAI's objects: one completion, or the chunks of a stream.

Knows neither who wrote it nor from what.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from rwkv_rag.api.flow import Step, close
from rwkv_rag.types import Citation

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """How an answer ended. `text` is the whole of it, as checked."""

    text: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    refused: bool = False
    citations: tuple[Citation, ...] = ()
    note: str = ""

    def usage(self) -> dict[str, int]:
        prompt, completion = self.prompt_tokens, self.completion_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def proof(self) -> dict[str, Any]:
        """What we add to OpenAI's message."""
        return {
            "refusal": self.text if self.refused else None,
            "refused": self.refused,
            "citations": [citation_record(each) for each in self.citations],
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Head:
    """What every object of one answer repeats."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def __call__(self, kind: str, **fields: Any) -> dict[str, Any]:
        fixed = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**fixed, **fields}


def completion(events: Iterator[Said | Finished], head: Head) -> Iterator[Step]:
    """The whole answer as the last step; the others let a client that has gone be noticed."""
    try:
        for event in events:
            if isinstance(event, Said):
                yield None
                continue
            message = {"role": "assistant", "content": event.text, **event.proof()}
            choice = {"index": 0, "message": message, "finish_reason": event.finish}
            choices = [{**choice, "logprobs": None}]
            yield head("chat.completion", choices=choices, usage=event.usage())
    finally:
        close(events)


def chunks(events: Iterator[Said | Finished], head: Head, *, usage: bool) -> Iterator[Step]:
    """The answer piece by piece; the last choice carries the proof, then comes the usage."""

    def chunk(delta: dict[str, Any], finish: Finish | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        # OpenAI's chunks have a null usage where one is to come.
        return head("chat.completion.chunk", choices=[choice], **({"usage": None} if usage else {}))

    opening: dict[str, Any] = {"role": "assistant", "content": ""}
    try:
        for event in events:
            if opening:  # not before the first event: what fails until then has a status
                yield chunk(opening)
                opening = {}
            if isinstance(event, Said):
                yield chunk({"content": event.text})
                continue
            yield chunk(event.proof(), event.finish)
            if usage:
                yield head("chat.completion.chunk", choices=[], usage=event.usage())
    finally:
        close(events)


def citation_record(citation: Citation) -> dict[str, Any]:
    """Document, page, character span and quote."""
    return {
        "document": citation.document,
        "page": citation.page,
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
    }
