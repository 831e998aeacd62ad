"""One training row: from the forms people keep rows in to token ids and what the loss counts.

Four forms, each a JSON object:

    {"text": "User: …\n\nAssistant: …"}             RWKV's own, taken as it stands; plain text too
    {"messages": [{"role": "user", "content": …}]}  system, user and assistant, several turns
    {"question": …, "answer": …}                    one turn
    {"question": …, "answer": …, "passages": […]}   one turn about passages, as the chat asks it

Prompts are those of the chat. Prompt and answer are encoded apart, because that is how a model
meets them: the prompt is given, the answer comes token by token. Knows no file and no model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rwkv_rag.errors import InputError
from rwkv_rag.rag import prompt
from rwkv_rag.rag.answering import REFUSAL, Answering
from rwkv_rag.rag.language import detect
from rwkv_rag.rwkv.tokenizer import END_OF_TEXT, Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scored = Literal["answers", "all"]
Piece = tuple[str, bool]
"""Text that is encoded by itself, and whether it is what the model is to say."""

FORMS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"text"}),
    "messages": frozenset({"messages"}),
    "question": frozenset({"question", "answer", "passages", "refused"}),
}
NOTES = frozenset({"id", "kind", "source", "lang", "language", "title", "meta"})
"""Keys any row may carry; they are not read."""

_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}
_TURN = re.compile(r"(?:\A|\n[ \t\r]*\n)(User|Assistant|System|Bot):")
_ANSWERING = ("Assistant", "Bot")


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A row as the trainer takes it: `ids` (n,) ending with 0, and `scored` (n,), which of them are
    targets of the loss. The first never is: nothing comes before it."""

    ids: NDArray[np.uint16]
    scored: NDArray[np.bool_]


class RowEncoder:
    """Turns decoded JSON into tokens of one vocabulary; `scored` says what the loss counts."""

    def __init__(self, tokenizer: Tokenizer, *, scored: Scored = "answers") -> None:
        if tokenizer.vocab_size > 1 << 16:
            raise InputError(
                "the vocabulary has {vocab_size:,} tokens; rows are stored with two bytes a "
                "token, which is enough for 65,536",
                vocab_size=tokenizer.vocab_size,
            )
        self._tokenizer = tokenizer
        self._all = scored == "all"
        self._budget = Answering().budget_tokens

    def encode(self, record: object) -> Encoded:
        """The row's tokens. Raises InputError, in one line, for what is no row."""
        row = parse(record, budget=self._budget, count=self._count)
        if self._all and len(row) > 1 and isinstance(record, dict) and "text" in record:
            row = [("".join(text for text, _ in row), True)]  # as RWKV-LM encodes it: in one go
        ids = [self._encode(text) for text, _ in row]
        flags = [
            np.full(len(each), said or self._all) for each, (_, said) in zip(ids, row, strict=True)
        ]
        end = np.array([END_OF_TEXT], np.uint16)
        encoded = Encoded(
            np.concatenate([*ids, end]), np.concatenate([*flags, np.ones(1, np.bool_)])
        )
        encoded.scored[0] = False
        return encoded

    def _encode(self, text: str) -> NDArray[np.uint16]:
        return self._tokenizer.encode_array(text.encode("utf-8", "replace")).astype(np.uint16)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode_array(text.encode("utf-8", "replace")))


def parse(record: object, *, budget: int, count: prompt.Count) -> list[Piece]:
    """The pieces of a row, answers marked. Raises InputError saying what is wrong with it."""
    if not isinstance(record, dict):
        raise InputError("it is not an object")
    form = _form(record)
    if form == "text":
        return _from_text(_text(record, "text"))
    if form == "messages":
        return _from_messages(record["messages"])
    return _from_question(record, budget, count)


def _form(record: dict[str, Any]) -> str:
    """Which of the forms a row has; unknown keys are told, since they may be misspelt."""
    found = [form for form in FORMS if form in record]
    if len(found) != 1:
        if found:
            raise InputError('it has more than one of "text", "messages" and "question"')
        raise InputError('it has none of "text", "messages" and "question"')
    for key in record:
        if key not in FORMS[found[0]] and key not in NOTES:
            known = ", ".join(f'"{each}"' for each in sorted(FORMS[found[0]]))
            raise InputError(
                '"{key}" is not a key of such a row; it may have {known}',
                key=str(key)[:40],
                known=known,
            )
    return found[0]


def _from_text(text: str) -> list[Piece]:
    """A text as it stands, cut where turns begin; without any turn all of it is to be learned."""
    turns = list(_TURN.finditer(text))
    if not turns:
        return [(text, True)]
    last = turns[-1]
    if last[1] not in _ANSWERING or not text[last.end() :].strip():
        raise InputError('"text" does not end with an answer after "Assistant:"')
    pieces: list[Piece] = []
    start = 0
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        if turn[1] not in _ANSWERING:
            continue
        # the blank line after an answer is part of it: it is how the model says that it is done
        end = following.start(1) if following else len(text)
        pieces += [(text[start : turn.end()], False), (text[turn.end() : end], True)]
        start = end
    return pieces


def _from_messages(messages: object) -> list[Piece]:
    if not isinstance(messages, list) or not messages:
        raise InputError('"messages" is not a list of messages')
    turns = [_message(message, place) for place, message in enumerate(messages)]
    if turns[-1][0] != "Assistant":
        raise InputError('"messages" does not end with a message of the assistant')
    pieces: list[Piece] = []
    asked = ""
    for place, (role, content) in enumerate(turns):
        gap = "" if place == len(turns) - 1 else "\n\n"
        if role == "Assistant":
            pieces += [(f"{asked}{role}:", False), (f" {content}{gap}", True)]
            asked = ""
        else:
            asked += f"{role}: {content}{gap}"
    return pieces


def _message(message: object, place: int) -> tuple[str, str]:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise InputError('message {place} has no "content" that is a text', place=place + 1)
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InputError(
            'the "role" of message {place} is {role!r}, not system, user or assistant',
            place=place + 1,
            role=str(role)[:40],
        )
    if role == "system" and place:
        raise InputError("message {place} is the system's; only the first may be", place=place + 1)
    content = prompt.clean(str(message.get("content")))
    if not content:
        raise InputError("message {place} is empty", place=place + 1)
    return _ROLES[role], content


def _from_question(record: dict[str, Any], budget: int, count: prompt.Count) -> list[Piece]:
    question = _text(record, "question")
    language = detect(question)
    answer = prompt.clean(_answer(record, REFUSAL[language]))
    passages = _passages(record.get("passages", []))
    if not passages:
        return [(f"User: {prompt.clean(question)}\n\nAssistant:", False), (f" {answer}", True)]
    asked = prompt.free(question, passages, language=language, budget=budget, count=count)
    return [(asked.text, False), (f" {answer}", True)]


def _answer(record: dict[str, Any], refusal: str) -> str:
    refused = record.get("refused", False)
    if not isinstance(refused, bool):
        raise InputError('"refused" is neither true nor false')
    if refused and not record.get("answer"):
        return refusal
    return _text(record, "answer")


def _passages(given: object) -> list[str]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InputError('"passages" is not a list')
    texts = []
    for place, each in enumerate(given, 1):
        text = each.get("text") if isinstance(each, dict) else each
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                'passage {place} is neither a text nor an object with a "text"', place=place
            )
        texts.append(text)
    return texts


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise InputError('"{key}" is missing or not a text', key=key)
    if not value.strip():
        raise InputError('"{key}" is empty', key=key)
    return value
