"""The messages of a chat request: what can be honoured, the question, its history, the prompt.

Knows no model; the templates are those that answers from documents are asked with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rwkv_rag import errors
from rwkv_rag.api.faults import Refused
from rwkv_rag.api.v1.shapes import ChatRequest, Message
from rwkv_rag.errors import InputError
from rwkv_rag.rag.answering import REFUSAL
from rwkv_rag.rag.prompt import clean
from rwkv_rag.types import Sampling, Turn

MOST_STOPS = 16
LONGEST_STOP = 256
SPOKEN = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}


def _nothing(value: Any) -> bool:
    return value in (None, False, 0, "") or value == [] or value == {}


_HARMLESS: Mapping[str, Callable[[Any], bool]] = {
    # which values of fields that we cannot honour ask for nothing
    "n": lambda value: value in (None, 1),
    "tools": _nothing,
    "tool_choice": lambda value: value in (None, "none", "auto"),
    "functions": _nothing,
    "function_call": lambda value: value in (None, "none", "auto"),
    "logprobs": _nothing,
    "top_logprobs": _nothing,
    "logit_bias": _nothing,
    "response_format": lambda value: value in (None, {"type": "text"}),
    "modalities": lambda value: value in (None, ["text"]),
    "audio": _nothing,
    "prediction": _nothing,
    "web_search_options": lambda value: value is None,
}


def check_supported(asked: ChatRequest) -> None:
    """Raise Refused, naming it, for the first field whose wish cannot be granted."""
    for name, harmless in _HARMLESS.items():
        if not harmless(getattr(asked, name)):
            text = errors.message("{name} is not supported here; leave it out", name=name)
            raise _unsupported(name, text)
    for number, turn in enumerate(asked.messages):
        place = f"messages[{number}]"
        if turn.role not in SPOKEN:
            raise _unsupported(
                f"{place}.role",
                errors.message(
                    "messages of the role {role} are not supported here", role=turn.role
                ),
            )
        for at, part in enumerate(turn.content if isinstance(turn.content, list) else ()):
            if part.type != "text" or part.text is None:
                raise _unsupported(
                    f"{place}.content[{at}]",
                    errors.message(
                        "content of the type {type!r} is not supported here; send text",
                        type=part.type[:40],
                    ),
                )
    stops_of(asked)
    if asked.messages[-1].role != "user":
        last = len(asked.messages) - 1
        raise Refused(
            InputError("the last message is not the user's; end with the question"),
            param=f"messages[{last}].role",
        )


def text_of(message: Message) -> str:
    """What was said, whether sent whole or in parts."""
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
            turns[-1] = Turn(turns[-1].question, _remembered(text_of(message)))
    return text_of(messages[-1]), turns


def prompt_of(messages: Sequence[Message]) -> str:
    """The conversation in RWKV's chat template, up to where the answer begins."""
    said = (f"{SPOKEN[m.role]}: {clean(text_of(m))}\n\n" for m in messages if text_of(m).strip())
    return "".join(said) + "Assistant:"


def stops_of(asked: ChatRequest) -> list[str]:
    """The texts at which the caller wants the answer to end."""
    stops = [asked.stop] if isinstance(asked.stop, str) else list(asked.stop or ())
    stops = [stop for stop in stops if stop]
    if len(stops) > MOST_STOPS or any(len(stop) > LONGEST_STOP for stop in stops):
        error = InputError(
            "stop has {stops} texts, the longest of {len} characters; the limits are "
            "{most_stops} and {longest_stop}",
            stops=len(stops),
            len=max(map(len, stops)),
            most_stops=MOST_STOPS,
            longest_stop=LONGEST_STOP,
        )
        raise Refused(error, param="stop")
    return stops


def sampling_of(asked: ChatRequest, usual: Sampling) -> Sampling:
    """How tokens are drawn: as asked, and otherwise as `usual`."""

    def first(value: float | None, default: float) -> float:
        return default if value is None else value

    return Sampling(
        temperature=first(asked.temperature, usual.temperature),
        top_p=first(asked.top_p, usual.top_p),
        presence_penalty=first(asked.presence_penalty, usual.presence_penalty),
        frequency_penalty=first(asked.frequency_penalty, usual.frequency_penalty),
        seed=usual.seed if asked.seed is None else asked.seed & (2**63 - 1),
    )


def _remembered(answer: str) -> str:
    """Of a refusal no word is worth knowing."""
    return "" if answer.strip() in REFUSAL.values() else answer


def _unsupported(param: str, text: errors.Message) -> Refused:
    return Refused(InputError(text), param=param, code="unsupported_parameter")
