"""Generator: streams of text, made as they are read, from any thread, with their own errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from rwkv_rag.errors import CorruptData, DeadlineExceeded, InputError, Internal
from rwkv_rag.services.contracts import GENERATOR
from rwkv_rag.testing import CopyGenerator
from rwkv_rag.types import GREEDY, Delta, Sampling

from .conftest import SOCKETS, Reach, ahead

SOON_S = 10.0
ODD = "文 \x00 ́ 🏳️‍🌈 \u2028 ‮ end"


class Telling:
    """A generator that says what `tell` yields for a prompt, and remembers what it was asked."""

    name = "telling 模型"

    def __init__(self, tell: Callable[[str], Iterator[str]]) -> None:
        self.tell = tell
        self.asked: list[dict[str, Any]] = []
        self.closed = threading.Event()

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(self, prompt: str, **options: Any) -> Iterator[Delta]:
        self.asked.append(options)
        if not prompt:
            raise InputError("the prompt is empty; 请输入")
        return self._said(prompt)

    def _said(self, prompt: str) -> Iterator[Delta]:
        try:
            for text in self.tell(prompt):
                yield Delta(text)
        finally:
            self.closed.set()


def asked(generator: Any, prompt: str) -> Iterator[Delta]:
    stream: Iterator[Delta] = generator.generate(prompt, sampling=GREEDY, max_tokens=9)
    return stream


@pytest.mark.parametrize("sources", [None, ["Roses are red.", "The fee is 48 pounds. 费用。"], []])
def test_it_says_what_the_object_says(reach: Reach, sources: list[str] | None) -> None:
    itself = CopyGenerator()
    there = reach(GENERATOR, itself)
    prompt = "[1] <<<\nThe fee is 48 pounds.\n>>>\n\nQuestion: What is the fee?\n\nAssistant:"
    options: dict[str, Any] = {"sampling": GREEDY, "max_tokens": 50, "sources": sources}
    assert there.name == itself.name
    assert there.count_tokens("三个 words") == itself.count_tokens("三个 words")
    said = list(itself.generate(prompt, **options, refusal="no"))
    assert list(there.generate(prompt, **options, refusal="no")) == said and said[-1].finish


def test_arguments_arrive_as_they_were_given(reach: Reach) -> None:
    itself = Telling(lambda prompt: iter([prompt]))
    there = reach(GENERATOR, itself)
    sampling = Sampling(0.5, 0.25, 7, 0.1, 0.2, 0.3, 42)
    (delta,) = there.generate(
        ODD, sampling=sampling, max_tokens=3, stop=("\n", "。"), sources=[ODD], refusal=ODD
    )
    assert delta == Delta(ODD)
    (options,) = itself.asked
    assert options["sampling"] == sampling and options["max_tokens"] == 3
    assert (list(options["stop"]), options["sources"]) == (["\n", "。"], [ODD])
    assert options["refusal"] == ODD


def test_arguments_of_the_wrong_shape_are_refused_by_the_call(reach: Reach) -> None:
    there = reach(GENERATOR, CopyGenerator())
    with pytest.raises(TypeError):
        there.generate("no sampling")
    with pytest.raises(TypeError):
        there.generate("x", sampling=GREEDY, max_tokens=1, wrong=1)


def test_nothing_is_made_long_before_it_is_read(reach: Reach, way: str) -> None:
    made: list[int] = []

    def endless(_: str) -> Iterator[str]:
        for number in count():
            made.append(number)
            yield str(number)

    there = reach(GENERATOR, Telling(endless))
    stream = asked(there, "go")
    assert made == []
    for number in range(100):
        assert next(stream).text == str(number)
        assert len(made) <= number + 1 + ahead(way)
    stream.close()  # type: ignore[attr-defined]


def test_who_closes_the_stream_ends_the_work(reach: Reach) -> None:
    itself = Telling(lambda _: map(str, count()))
    stream = asked(reach(GENERATOR, itself), "go")
    next(stream)
    assert not itself.closed.is_set()
    stream.close()  # type: ignore[attr-defined]
    assert itself.closed.wait(SOON_S)
    assert list(stream) == []


def test_who_forgets_the_stream_ends_the_work(reach: Reach) -> None:
    itself = Telling(lambda _: map(str, count()))
    stream = asked(reach(GENERATOR, itself), "go")
    next(stream)
    del stream
    assert itself.closed.wait(SOON_S)


def test_what_is_wrong_with_a_call_is_said_by_the_call(reach: Reach) -> None:
    there = reach(GENERATOR, Telling(iter))
    with pytest.raises(InputError, match="the prompt is empty; 请输入") as caught:
        there.generate("", sampling=GREEDY, max_tokens=1)
    assert type(caught.value) is InputError


def test_what_goes_wrong_later_is_said_after_what_went_well(reach: Reach) -> None:
    def breaks(_: str) -> Iterator[str]:
        yield from "abc"
        raise CorruptData("the file is damaged")

    stream = asked(reach(GENERATOR, Telling(breaks)), "go")
    assert [next(stream).text for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(CorruptData, match="the file is damaged"):
        next(stream)


def test_a_mistake_in_the_program_is_no_fault_of_the_caller(reach: Reach, way: str) -> None:
    def broken(_: str) -> Iterator[str]:
        yield str(1 // 0)

    there = reach(GENERATOR, Telling(broken))
    with pytest.raises(Internal if way in SOCKETS else ZeroDivisionError):
        list(asked(there, "go"))
    assert there.count_tokens("next") == 4


@pytest.mark.parametrize("way", SOCKETS)
def test_nobody_waits_past_the_deadline(reach: Reach) -> None:
    enough = threading.Event()

    def stuck(prompt: str) -> Iterator[str]:
        yield "first"
        enough.wait(SOON_S)

    there = reach(GENERATOR, Telling(stuck), deadline_s=0.3)
    stream = asked(there, "go")
    assert next(stream).text == "first"
    with pytest.raises(DeadlineExceeded):
        next(stream)
    assert there.count_tokens("next") == 4
    enough.set()


def test_many_threads_get_each_their_own(reach: Reach) -> None:
    there = reach(GENERATOR, Telling(lambda prompt: (f"{prompt}-{n}" for n in range(60))))

    def run(number: int) -> bool:
        texts = [delta.text for delta in asked(there, str(number))]
        return texts == [f"{number}-{n}" for n in range(60)]

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(run, range(32)))


def test_two_streams_of_one_thread_do_not_mix(reach: Reach) -> None:
    there = reach(GENERATOR, Telling(lambda prompt: (prompt for _ in range(200))))
    left, right = asked(there, "left"), asked(there, "right")
    pairs = list(zip(left, right, strict=True))
    assert pairs == [(Delta("left"), Delta("right"))] * 200


def test_a_long_text_arrives_whole(reach: Reach) -> None:
    there = reach(GENERATOR, Telling(lambda prompt: iter([prompt])))
    text = "长文 long 🌱\n" * 150_000
    (delta,) = asked(there, text)
    assert delta.text == text
