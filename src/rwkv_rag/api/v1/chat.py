"""`/v1/chat/completions`: an answer from a knowledge base with its proof, or the model's own words.

request ─▶ model and base by name ─▶ pipeline | generator ─▶ Delta… Answer ─▶ OpenAI's objects
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import APIRouter, Response

from rwkv_rag.api.dependencies import Context, ContextDep
from rwkv_rag.api.responses import OPENAI_EVENTS, Step, StepsResponse, closing_iterator
from rwkv_rag.api.v1.chat_request import (
    RequestGenerator,
    check_supported,
    prompt_of,
    question_and_history,
    text_of,
)
from rwkv_rag.api.v1.models import ModelChoice, choose_model
from rwkv_rag.api.v1.schemas import ChatRequest, Completion
from rwkv_rag.errors import InputError
from rwkv_rag.rag.prompt import STOP
from rwkv_rag.records import citation_record
from rwkv_rag.types import Answer, Delta, Sampling

MAX_TOKENS = 512  # where the request does not say
MAX_PROMPT = 32_768  # tokens

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.post(
    "/chat/completions",
    summary="Chat, with a knowledge base or without",
    response_model=Completion,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def chat(body: ChatRequest, context: ContextDep) -> Response:
    """The last user message is the question, the messages before it the conversation so far.

    With a knowledge base (`model: NAME@KB`, or `knowledge_base`) the reply carries `citations`:
    document, page, character span and the quote, each compared with the stored document; a
    refusal says so in `refused` and `refusal`. `mode: free` lets the model write, `top_k` says how
    many passages it sees. Without one the model simply chats, if it can write.
    """
    check_supported(body)
    choice = choose_model(context.client, body.model, body.knowledge_base)
    start = _from_knowledge if choice.kb else _from_model
    reply = start(context, choice, body)
    if not body.stream:
        return StepsResponse(reply.completion())
    usage = bool(body.stream_options and body.stream_options.include_usage)
    return StepsResponse(reply.chunks(usage=usage), OPENAI_EVENTS)


def _from_knowledge(context: Context, choice: ModelChoice, body: ChatRequest) -> Reply:
    """An answer of the pipeline. Raises at once what is wrong with question, base or model."""
    question, history = question_and_history(body.messages)
    context.client.knowledge.base(choice.kb)
    generator = RequestGenerator(context.client.generator(choice.writer), body)
    pipeline = context.client.pipeline(choice.writer, generator=generator)
    mode = body.mode or "strict"
    events = pipeline.answer(question, kb=choice.kb, mode=mode, history=history, top_k=body.top_k)
    return Reply(context, body, generator, events)


def _from_model(context: Context, choice: ModelChoice, body: ChatRequest) -> Reply:
    """What the model writes by itself. Raises at once where it cannot."""
    name = choice.writer.name
    if not choice.writer.writes:
        raise InputError(
            "the model {name!r} cannot write in its own words; ask a knowledge base with "
            "the model {name2!r}, or choose a model that writes",
            name=name,
            name2=name + "@KB",
        )
    if not text_of(body.messages[-1]).strip():
        raise InputError("the question is empty; type what you want to know")
    prompt = prompt_of(body.messages)
    generator = RequestGenerator(context.client.generator(choice.writer), body)
    _check_length(prompt, generator)
    deltas = generator.generate(prompt, sampling=Sampling(), max_tokens=MAX_TOKENS, stop=STOP)
    return Reply(context, body, generator, _with_answer(deltas))


def _with_answer(deltas: Iterator[Delta]) -> Iterator[Delta | Answer]:
    """The deltas, and the whole text after them, as the pipeline has it."""
    pieces: list[str] = []
    with closing_iterator(deltas):
        for delta in deltas:
            pieces.append(delta.text)
            yield delta
    yield Answer("".join(pieces).lstrip(), refused=False)


def _check_length(prompt: str, generator: RequestGenerator) -> None:
    # A token has at least one byte: a short prompt need not be counted.
    if len(prompt.encode()) > MAX_PROMPT and generator.count_tokens(prompt) > MAX_PROMPT:
        raise InputError(
            "the conversation is longer than {longest_prompt:,} tokens, the limit here; "
            "leave out its beginning",
            longest_prompt=MAX_PROMPT,
        )


@dataclass(slots=True)
class Reply:
    """An answer in OpenAI's objects: one completion, or the chunks of a stream."""

    context: Context
    request: ChatRequest
    generator: RequestGenerator
    events: Iterator[Delta | Answer]
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    finish: Literal["stop", "length"] = "stop"

    def completion(self) -> Iterator[Step]:
        """The whole answer as the last step; the others let a gone client be noticed."""
        with closing_iterator(self._pieces()) as pieces:
            for piece in pieces:
                if isinstance(piece, str):
                    yield None
                    continue
                message = {"role": "assistant", "content": piece.text, **_proof(piece)}
                choice = self._choice(message=message, finish_reason=self.finish)
                yield self._object("chat.completion", choices=[choice], usage=self._usage())

    def chunks(self, *, usage: bool) -> Iterator[Step]:
        """The answer piece by piece; the last choice carries the proof, then comes the usage."""
        # OpenAI's chunks have a null usage where one is to come.
        empty = {"usage": None} if usage else {}

        def chunk(delta: dict[str, Any], finish: str | None = None) -> Step:
            choices = [self._choice(delta=delta, finish_reason=finish)]
            return self._object("chat.completion.chunk", choices=choices, **empty)

        begun = False
        with closing_iterator(self._pieces()) as pieces:
            for piece in pieces:
                if not begun:  # not before the first piece: an error until then has a status
                    yield chunk({"role": "assistant", "content": ""})
                    begun = True
                if isinstance(piece, str):
                    yield chunk({"content": piece})
                    continue
                yield chunk(_proof(piece), self.finish)
                if usage:
                    yield self._object("chat.completion.chunk", choices=[], usage=self._usage())

    def _pieces(self) -> Iterator[str | Answer]:
        """The text as it is made, without white space before it, and the answer at the end."""
        begun = False
        with closing_iterator(self.events):
            for event in self.events:
                if isinstance(event, Answer):
                    self._count(event)
                    yield event
                    continue
                if event.finish == "length":
                    self.finish = "length"
                if text := event.text if begun else event.text.lstrip():
                    begun = True
                    yield text

    def _count(self, answer: Answer) -> None:
        """Count what the model read and wrote; where it was not used, messages and answer."""
        generator = self.generator
        if not generator.used:
            asked = "\n\n".join(map(text_of, self.request.messages))
            generator.prompt_tokens = generator.count_tokens(asked)
            generator.completion_tokens = generator.count_tokens(answer.text)
        self.context.metrics.count_tokens(generator.prompt_tokens, generator.completion_tokens)

    def _usage(self) -> dict[str, int]:
        prompt, completion = self.generator.prompt_tokens, self.generator.completion_tokens
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def _object(self, kind: str, **fields: Any) -> dict[str, Any]:
        model = self.request.model
        return {"id": self.id, "object": kind, "created": self.created, "model": model, **fields}

    def _choice(self, **fields: Any) -> dict[str, Any]:
        return {"index": 0, **fields, "logprobs": None}


def _proof(answer: Answer) -> dict[str, Any]:
    """What we add to OpenAI's message."""
    return {
        "refusal": answer.text if answer.refused else None,
        "refused": answer.refused,
        "citations": [citation_record(each) for each in answer.citations],
        "note": answer.note,
    }
