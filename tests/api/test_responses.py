"""Steps as a response: pulled only as the client takes them, ended when it goes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from starlette.exceptions import HTTPException

from rwkv_rag.api.responses import (
    LINES,
    OPENAI_EVENTS,
    Format,
    Step,
    StepsResponse,
    encoded,
)
from rwkv_rag.errors import Busy, NotFound
from rwkv_rag.i18n import in_language


class Taken:
    """An iterator that notes what is done with it."""

    def __init__(self, steps: list[Step | Exception]) -> None:
        self.steps, self.pulled, self.closed = steps, 0, 0
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[Step]:
        return self

    def __next__(self) -> Step:
        self.threads.add(threading.get_ident())
        if self.pulled == len(self.steps):
            raise StopIteration
        self.pulled += 1
        step = self.steps[self.pulled - 1]
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1


def sent(taken: Taken, format: Format | None, *, stop_after: int | None = None) -> list[Any]:
    """What goes out; after `stop_after` messages the client is gone."""
    out: list[Any] = []

    async def run() -> None:
        gone = anyio.Event()

        async def send(message: Any) -> None:
            out.append(message)
            if len(out) == stop_after:
                gone.set()
                await anyio.sleep_forever()  # a client that reads no more

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        response = StepsResponse(taken, format)
        with anyio.fail_after(10):
            await response({"type": "http"}, receive, send)

    anyio.run(run)
    return out


def test_steps_are_sent_one_by_one_from_other_threads() -> None:
    taken = Taken([{"a": 1}, None, {"b": "二"}])
    start, *parts = sent(taken, OPENAI_EVENTS)
    assert (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
    bodies = [part["body"] for part in parts]
    assert bodies == [b'data: {"a":1}\n\n', 'data: {"b":"二"}\n\n'.encode(), b"data: [DONE]\n\n"]
    assert [part["more_body"] for part in parts] == [True, True, False]
    assert threading.get_ident() not in taken.threads
    assert taken.closed


def test_gathered_only_the_last_step_is_sent_with_its_length() -> None:
    start, part = sent(Taken([None, {"a": 1}, None]), None)
    assert part["body"] == b'{"a":1}'
    assert (b"content-length", b"7") in start["headers"]


def test_a_client_that_goes_ends_the_iterator_and_nothing_more_is_made() -> None:
    taken = Taken([{"n": n} for n in range(100)])
    sent(taken, LINES, stop_after=3)  # the start and two steps
    assert taken.pulled <= 3
    assert taken.closed


@pytest.mark.parametrize("format", [LINES, None])
def test_what_was_opened_is_closed_even_where_the_client_was_gone_from_the_start(
    format: Format | None,
) -> None:
    opened = Taken([{"n": n} for n in range(100)])

    def steps() -> Iterator[Step]:
        try:
            yield from opened
        finally:
            opened.close()

    async def run() -> None:
        async def send(message: Any) -> None:
            await anyio.sleep(0)

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        response = StepsResponse(steps(), format)
        await response({"type": "http"}, receive, send)

    anyio.run(run)
    assert opened.closed and opened.pulled < 5


@pytest.mark.parametrize("format", [LINES, None])
def test_what_fails_before_the_first_step_is_raised_so_that_it_gets_a_status(
    format: Format | None,
) -> None:
    taken = Taken([NotFound("no base")])
    with pytest.raises(NotFound):
        sent(taken, format)
    assert taken.closed


def test_what_fails_later_is_the_last_thing_sent() -> None:
    with in_language("zh"):
        _, first, last, end = sent(Taken([{"a": 1}, Busy("no answer yet")]), LINES)
    told = json.loads(last["body"])
    assert (told["type"], told["error"]["code"]) == ("error", "busy")
    assert told["error"]["message"] == "还没有回应"
    assert first["body"] == b'{"a":1}\n' and not end["more_body"]


def test_a_mistake_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    _, _, last, _ = sent(Taken([{"a": 1}, RuntimeError("secret")]), LINES)
    assert b"secret" not in last["body"] and b"internal" in last["body"]
    assert "secret" in caplog.text


def test_a_body_that_is_not_read_and_too_large_does_not_spoil_the_answer() -> None:
    out: list[Any] = []

    async def run() -> None:
        async def send(message: Any) -> None:
            await anyio.sleep(0)  # lets the watcher run
            out.append(message)

        async def receive() -> Any:
            raise HTTPException(413)

        response = StepsResponse(Taken([{"a": 1}]), LINES)
        await response({"type": "http"}, receive, send)

    anyio.run(run)
    assert out[1]["body"] == b'{"a":1}\n'


def test_a_number_that_is_none_becomes_null() -> None:
    value = {"a": [math.nan, 1.5, {"b": math.inf}], "c": "\ud800"}
    assert json.loads(encoded(value)) == {"a": [None, 1.5, {"b": None}], "c": "?"}
