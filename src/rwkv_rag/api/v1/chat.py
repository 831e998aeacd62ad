"""`/v1/chat/completions`: an answer from a knowledge base with its proof, or the model's own words.

request ─▶ who writes, from which base ─▶ pipeline | generator ─▶ Said… Finished ─▶ chunks
"""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Response

from rwkv_rag.api.context import Context, Here
from rwkv_rag.api.flow import OPENAI, close
from rwkv_rag.api.v1.conversation import (
    check_supported,
    prompt_of,
    question_and_history,
    text_of,
)
from rwkv_rag.api.v1.naming import Chosen, chosen
from rwkv_rag.api.v1.reply import Finish, Finished, Head, Said, chunks, completion
from rwkv_rag.api.v1.shapes import ChatRequest, Completion
from rwkv_rag.api.v1.voice import Voice
from rwkv_rag.errors import InputError
from rwkv_rag.rag.prompt import STOP
from rwkv_rag.types import Answer, Sampling

MAX_TOKENS = 512  # where the caller does not say
LONGEST_PROMPT = 32_768  # tokens
_LONGEST_TOKEN = 512  # characters, and more than any vocabulary has

router = APIRouter(prefix="/v1", tags=["OpenAI"])


@router.post(
    "/chat/completions",
    summary="Chat, with a knowledge base or without",
    response_model=Completion,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def chat(asked: ChatRequest, here: Here) -> Response:
    """The last user message is the question, the messages before it the conversation so far.

    With a knowledge base (`model: NAME@KB`, or `knowledge_base`) the reply carries `citations`:
    document, page, character span and the quote, each compared with the stored document; a
    refusal says so in `refused` and `refusal`. `mode: free` lets the model write, `top_k` says how
    many passages it sees. Without one the model simply chats, if it can write.
    """
    check_supported(asked)
    who = chosen(here.parts, asked.model, asked.knowledge_base)
    events = _counted(here, _from_knowledge(here, who, asked) if who.kb else _own(here, who, asked))
    head = Head(asked.model)
    if not asked.stream:
        return here.flow(completion(events, head))
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return here.flow(chunks(events, head, usage=usage), OPENAI)


def _from_knowledge(here: Context, who: Chosen, asked: ChatRequest) -> Iterator[Said | Finished]:
    """What the pipeline answers. Raises at once what is wrong with question, base or model."""
    question, history = question_and_history(asked.messages)
    here.parts.knowledge.base(who.kb)
    voice = Voice(here.parts.generator(who.writer), asked)
    pipeline = here.parts.pipeline(who.writer, generator=voice)
    mode = asked.mode or "strict"
    events = pipeline.answer(question, kb=who.kb, mode=mode, history=history, top_k=asked.top_k)

    def told() -> Iterator[Said | Finished]:
        cut, begun = False, False
        try:
            for event in events:
                if isinstance(event, Answer):
                    yield _finished(event, voice, asked, cut=cut)
                    continue
                cut = cut or event.finish == "length"
                if text := event.text if begun else event.text.lstrip():
                    begun = True
                    yield Said(text)
        finally:
            close(events)

    return told()


def _finished(answer: Answer, voice: Voice, asked: ChatRequest, *, cut: bool) -> Finished:
    """The answer with its tokens: what the model read and wrote, or else what was said."""
    if not voice.used:
        voice.prompt_tokens = voice.count_tokens("\n\n".join(map(text_of, asked.messages)))
        voice.completion_tokens = voice.count_tokens(answer.text)
    return Finished(
        text=answer.text,
        finish="length" if cut else "stop",
        prompt_tokens=voice.prompt_tokens,
        completion_tokens=voice.completion_tokens,
        refused=answer.refused,
        citations=answer.citations,
        note=answer.note,
    )


def _own(here: Context, who: Chosen, asked: ChatRequest) -> Iterator[Said | Finished]:
    """What the model writes by itself. Raises at once where it cannot."""
    name = who.writer.name
    if not who.writer.writes:
        raise InputError(
            "the model {name!r} cannot write in its own words; ask a knowledge base with "
            "the model {name2!r}, or choose a model that writes",
            name=name,
            name2=name + "@KB",
        )
    _check_asked(text_of(asked.messages[-1]))
    prompt = prompt_of(asked.messages)
    voice = Voice(here.parts.generator(who.writer), asked)
    _check_length(prompt, voice)
    deltas = voice.generate(prompt, sampling=Sampling(), max_tokens=MAX_TOKENS, stop=STOP)

    def told() -> Iterator[Said | Finished]:
        pieces: list[str] = []
        cut = False
        try:
            for delta in deltas:
                cut = cut or delta.finish == "length"
                if text := delta.text if pieces else delta.text.lstrip():
                    pieces.append(text)
                    yield Said(text)
        finally:
            close(deltas)
        finish: Finish = "length" if cut else "stop"
        yield Finished("".join(pieces), finish, voice.prompt_tokens, voice.completion_tokens)

    return told()


def _check_asked(question: str) -> None:
    if not question.strip():
        raise InputError("the question is empty; type what you want to know")


def _check_length(prompt: str, voice: Voice) -> None:
    if len(prompt.encode()) <= LONGEST_PROMPT:
        return  # a token has a byte at least
    if len(prompt) > _LONGEST_TOKEN * LONGEST_PROMPT or voice.count_tokens(prompt) > LONGEST_PROMPT:
        raise InputError(
            "the conversation is longer than {longest_prompt:,} tokens, the limit here; "
            "leave out its beginning",
            longest_prompt=LONGEST_PROMPT,
        )


def _counted(here: Context, events: Iterator[Said | Finished]) -> Iterator[Said | Finished]:
    try:
        for event in events:
            if isinstance(event, Finished):
                here.measures.count_tokens(event.prompt_tokens, event.completion_tokens)
            yield event
    finally:
        close(events)
