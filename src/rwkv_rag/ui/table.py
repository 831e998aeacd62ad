"""Training rows as a table of questions and answers, and back. Knows values only, no page.

Rows come in several forms. What the table does not show of a row (its passages, its earlier turns)
is kept, and a row nobody changed is written back as it was.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rwkv_rag.errors import InputError, system_reason

Record = dict[str, Any]
NUMBER = "row"
"""The column that says which record a line of the table was; empty for a line that was added."""

_ANSWER = re.compile(r"\n\s*\n(?:Assistant|Bot):[ \n]?")
_USER = "User: "


def line(number: int, record: Record) -> dict[str, Any]:
    """The line of the table for record `number`."""
    question, answer = shown(record)
    return {
        NUMBER: number,
        "question": question,
        "answer": answer,
        "kind": str(record.get("kind") or _kind(record)),
        "source": _source(record.get("source")),
    }


def records(lines: Iterable[Mapping[str, Any]], originals: Sequence[Record]) -> list[Record]:
    """The records that edited lines stand for; lines without question and answer fall away."""
    made = []
    for each in lines:
        question, answer = str(each.get("question") or ""), str(each.get("answer") or "")
        number = each.get(NUMBER)
        known = number is not None and number == number  # an added line has None or NaN
        if known:
            made.append(edited(originals[int(str(number))], question, answer))
        elif question.strip() and answer.strip():
            made.append({"question": question, "answer": answer, "kind": "own"})
        elif question.strip() or answer.strip():
            shown = (question or answer).strip()[:40]
            if question.strip():
                raise InputError(
                    "the row {row!r} has no answer; fill it in or delete the row", row=shown
                )
            raise InputError(
                "the row {row!r} has no question; fill it in or delete the row", row=shown
            )
    return made


def shown(record: Record) -> tuple[str, str]:
    """The last question and its answer. A plain text is all answer."""
    if "messages" in record:
        return _content(record, "user"), _content(record, "assistant")
    if "text" in record:
        head, _gap, answer = _cut(str(record["text"]))
        return head.removeprefix(_USER), answer
    return str(record.get("question") or ""), str(record.get("answer") or "")


def edited(record: Record, question: str, answer: str) -> Record:
    """`record` with another question and answer; the same record where both are as shown."""
    if (question, answer) == shown(record):
        return record
    if "messages" in record:
        messages = [dict(message) for message in record["messages"]]
        for role, content in (("user", question), ("assistant", answer)):
            if (place := _last(record, role)) >= 0:
                messages[place]["content"] = content
        return {**record, "messages": messages}
    if "text" in record:
        head, gap, _answer = _cut(str(record["text"]))
        if not gap:  # a plain text becomes a turn when it is given a question
            return {
                **record,
                "text": f"{_USER}{question}\n\nAssistant: {answer}" if question else answer,
            }
        user = _USER if head.startswith(_USER) else ""
        return {**record, "text": f"{user}{question}{gap}{answer}"}
    return {**record, "question": question, "answer": answer}


def write(path: Path, rows: Iterable[Record]) -> int:
    """Write a .jsonl file whole or not at all; how many rows it has. Raises InputError."""
    count = 0
    with _replacing(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all. Raises InputError."""
    with _replacing(path) as file:
        file.write(content)


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` once the block has ended without an error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise InputError(
            "{path} cannot be written: {reason}", path=path, reason=system_reason(error)
        ) from error


def _source(source: object) -> str:
    """A document's name, from rows made of a knowledge base, or what a file says."""
    name = source.get("document") if isinstance(source, dict) else source
    return str(name or "")


def _kind(record: Record) -> str:
    if record.get("refused"):
        return "refusal"
    return next((form for form in ("messages", "text") if form in record), "answer")


def _cut(text: str) -> tuple[str, str, str]:
    """What comes before the last answer, what stands between, and the answer."""
    found = list(_ANSWER.finditer(text))
    if not found:
        return "", "", text
    return text[: found[-1].start()], found[-1][0], text[found[-1].end() :]


def _content(record: Record, role: str) -> str:
    place = _last(record, role)
    return str(record["messages"][place]["content"]) if place >= 0 else ""


def _last(record: Record, role: str) -> int:
    places = [n for n, each in enumerate(record["messages"]) if each.get("role") == role]
    return places[-1] if places else -1
