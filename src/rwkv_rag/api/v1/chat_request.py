"""What a chat request asks for: question, history, prompt, sampling; what cannot be honoured.

Knows no model; the templates are those of answers from documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rwkv_rag.api.problems import Problem
from rwkv_rag.api.responses import closing_iterator
from rwkv_rag.api.v1.schemas import ChatRequest, Message, Unsupported
from rwkv_rag.errors import InputError
from rwkv_rag.interfaces import Generator
from rwkv_rag.rag.answering import REFUSAL
from rwkv_rag.rag.prompt import clean
from rwkv_rag.types import Delta, Sampling, Turn

MAX_STOPS = 16
MAX_STOP = 256  # characters
ROLES = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}


@dataclass(slots=True)
class RequestGenerator:
    """A generator with a request's sampling, length and stops, that counts its tokens.

    Where the text is bound to sources, only its length is the request's to choose.
    """

    generator: Generator
    request: ChatRequest
    prompt_tokens: int = 0
    completion_tokens: int = 0
    used: bool = False

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
        **grounding: Any,
    ) -> Iterator[Delta]:
        """See `rwkv_rag.interfaces.Generator`."""
        self.used = True
        if grounding.get("sources") is None:
            sampling = sampling_of(self.request, sampling)
            stop = (*stop, *stops_of(self.request))
        deltas = self.generator.generate(
            prompt,
            sampling=sampling,
            max_tokens=self.request.max_completion_tokens or self.request.max_tokens or max_tokens,
            stop=stop,
            **grounding,
        )
        return self._counted(prompt, deltas)

    def _counted(self, prompt: str, deltas: Iterator[Delta]) -> Iterator[Delta]:
        """Counts at the end, so that the first word does not wait for it."""
        pieces = []
        with closing_iterator(deltas):
            for delta in deltas:
                pieces.append(delta.text)
                if delta.finish:
                    self.prompt_tokens += self.count_tokens(prompt)
                    self.completion_tokens += self.count_tokens("".join(pieces))
                yield delta


def check_supported(request: ChatRequest) -> None:
    """Raise Problem, naming it, for the first field that asks for what is not there."""
    for name, field in ChatRequest.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Unsupported) and not mark.allows(getattr(request, name)):
                error = InputError("{name} is not supported here; leave it out", name=name)
                raise _unsupported(name, error)
    for number, message in enumerate(request.messages):
        _check_message(message, f"messages[{number}]")
    stops_of(request)
    if request.messages[-1].role != "user":
        raise Problem(
            InputError("the last message is not the user's; end with the question"),
            param=f"messages[{len(request.messages) - 1}].role",
        )


def _check_message(message: Message, place: str) -> None:
    if message.role not in ROLES:
        error = InputError("messages of the role {role} are not supported here", role=message.role)
        raise _unsupported(f"{place}.role", error)
    for number, part in enumerate(message.content if isinstance(message.content, list) else ()):
        if part.type != "text" or part.text is None:
            error = InputError(
                "content of the type {type!r} is not supported here; send text", type=part.type[:40]
            )
            raise _unsupported(f"{place}.content[{number}]", error)


def text_of(message: Message) -> str:
    """The text of a message, whether sent whole or in parts."""
    content = message.content
    if isinstance(content, list):
        return "\n".join(part.text or "" for part in content)
    return content or ""


def question_and_history(messages: Sequence[Message]) -> tuple[str, list[Turn]]:
    """The last message, and the questions before it with their answers."""
    turns: list[Turn] = []
    for message in messages[:-1]:
        if message.role == "user":
            turns.append(Turn(text_of(message), ""))
        elif message.role == "assistant" and turns:
            answer = text_of(message)
            refused = answer.strip() in REFUSAL.values()  # then it says nothing about the question
            turns[-1] = Turn(turns[-1].question, "" if refused else answer)
    return text_of(messages[-1]), turns


def prompt_of(messages: Sequence[Message]) -> str:
    """The conversation in RWKV's chat template, up to where the answer begins."""
    turns = (f"{ROLES[m.role]}: {clean(text_of(m))}\n\n" for m in messages if text_of(m).strip())
    return "".join(turns) + "Assistant:"


def stops_of(request: ChatRequest) -> list[str]:
    """The texts at which the answer is to end. Raises Problem for too many or too long ones."""
    stops = [request.stop] if isinstance(request.stop, str) else list(request.stop or ())
    stops = [stop for stop in stops if stop]
    if len(stops) > MAX_STOPS or any(len(stop) > MAX_STOP for stop in stops):
        error = InputError(
            "stop has {stops} texts, the longest of {len} characters; the limits are "
            "{most_stops} and {longest_stop}",
            stops=len(stops),
            len=max(map(len, stops)),
            most_stops=MAX_STOPS,
            longest_stop=MAX_STOP,
        )
        raise Problem(error, param="stop")
    return stops


def sampling_of(request: ChatRequest, usual: Sampling) -> Sampling:
    """How tokens are drawn: as the request says, else as `usual`."""
    names = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
    given = {name: value for name in names if (value := getattr(request, name)) is not None}
    if request.seed is not None:
        given["seed"] = request.seed & (2**63 - 1)  # as the sampler takes it: not negative
    return replace(usual, **given)


def _unsupported(param: str, error: InputError) -> Problem:
    return Problem(error, param=param, code="unsupported_parameter")
