"""The ways to a draft answer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rwkv_rag.rag import prompt
from rwkv_rag.rag.strategies import Draft, Free, Ground, Quoting, Reading, Strategy, Task
from rwkv_rag.testing import CopyGenerator, OverlapReader, ScriptedGenerator
from rwkv_rag.types import GREEDY, Chunk, Delta, Hit, SourceSpan
from rwkv_rag.types import Reading as Found

HANDBOOK = "员工手册第三版。员工每年享有十天带薪年假。病假每年不超过十二天。"
OTHER = "The lighthouse was built in 1875. It is 31.5 metres tall."


def hit(text: str, number: int = 0, offset: int = 0) -> Hit:
    chunk = Chunk(f"c{number}", f"d{number}.txt", 0, offset, offset + len(text), text)
    return Hit(chunk, score=1.0 / (number + 1), relevance=0.9)


def task(question: str, *texts: str) -> Task:
    hits = tuple(hit(text, n) for n, text in enumerate(texts))
    return Task(question, question, hits, (), "zh", "没有找到。")


def drafted(strategy: Strategy, asked: Task) -> tuple[str, Draft]:
    *deltas, draft = strategy.draft(asked)
    assert isinstance(draft, Draft)
    return "".join(delta.text for delta in deltas if isinstance(delta, Delta)), draft


def evidence(draft: Draft) -> list[str]:
    return [piece.hit.chunk.text[piece.start : piece.end] for piece in draft.evidence]


def test_quoting_gives_the_sentence_as_it_stands() -> None:
    _, draft = drafted(Quoting(1, 0.0), task("病假有几天？", OTHER, HANDBOOK))
    assert draft.text == "病假每年不超过十二天。" == evidence(draft)[0]


def test_two_quotes_of_a_passage_come_in_reading_order() -> None:
    _, draft = drafted(Quoting(2, 0.0), task("病假年假有几天？", HANDBOOK))
    assert draft.text == "员工每年享有十天带薪年假。病假每年不超过十二天。"


def test_quoting_refuses_what_covers_too_little_of_the_question() -> None:
    asked = task("员工食堂星期三的午餐菜单是什么？", HANDBOOK)
    assert not drafted(Quoting(1, 0.0), asked)[1].refused
    assert drafted(Quoting(1, 0.6), asked)[1].refused


class Scripted:
    """A reader that has made up its mind."""

    def __init__(self, *readings: Found | None) -> None:
        self._readings = list(readings)

    def read(self, question: str, passages: Sequence[str]) -> list[Found | None]:
        return self._readings


def span_of(words: str, text: str, source: int, margin: float) -> Found:
    start = text.index(words)
    return Found(SourceSpan(source, start, start + len(words)), margin)


def test_a_reading_answers_with_the_span_and_cites_the_sentence_around_it() -> None:
    reader = Scripted(None, span_of("十二天", HANDBOOK, 1, 2.0))
    _, draft = drafted(Reading(reader, 0.0, 0.0), task("病假？", OTHER, HANDBOOK))
    assert draft.text == "十二天" and evidence(draft) == ["病假每年不超过十二天。"]


def test_a_reading_over_two_sentences_cites_both() -> None:
    reader = Scripted(span_of("年假。病假", HANDBOOK, 0, 1.0))
    _, draft = drafted(Reading(reader, 0.0, 0.0), task("?", HANDBOOK))
    assert evidence(draft) == ["员工每年享有十天带薪年假。病假每年不超过十二天。"]


def test_the_rank_decides_between_readings_of_nearly_the_same_margin() -> None:
    readings = (span_of("1875", OTHER, 0, 1.0), span_of("十天", HANDBOOK, 1, 1.2))
    asked = task("?", OTHER, HANDBOOK)
    assert drafted(Reading(Scripted(*readings), 0.0, 0.0), asked)[1].text == "十天"
    assert drafted(Reading(Scripted(*readings), 0.0, 0.5), asked)[1].text == "1875"


@pytest.mark.parametrize(
    "reader", [Scripted(span_of("1875", OTHER, 0, 0.4)), Scripted(None), OverlapReader(2.0)]
)
def test_a_reading_under_the_margin_is_a_refusal(reader: Scripted) -> None:
    assert drafted(Reading(reader, 0.5, 0.0), task("?", OTHER))[1].refused


def test_a_reading_of_a_passage_that_was_not_given_is_a_refusal() -> None:
    reader = Scripted(Found(SourceSpan(4, 0, 3), 9.0))
    assert drafted(Reading(reader, 0.0, 0.0), task("?", OTHER))[1].refused


def test_grounded_text_is_streamed_and_is_a_span_of_a_passage() -> None:
    shown, draft = drafted(
        Ground(CopyGenerator(), 2_000, 64), task("病假有几天？", OTHER, HANDBOOK)
    )
    assert shown == draft.text == "病假每年不超过十二天。" and draft.streamed


def test_a_generator_that_refuses_is_believed() -> None:
    asked = task("火星重力？", OTHER)
    assert drafted(Ground(CopyGenerator(), 2_000, 64), asked)[1].refused


def test_grounding_offers_only_the_passages_the_prompt_has_room_for() -> None:
    seen: list[Sequence[str] | None] = []

    class Watching(CopyGenerator):
        def generate(self, prompt: str, **options: object):  # type: ignore[no-untyped-def]
            seen.append(options["sources"])  # type: ignore[arg-type]
            return super().generate(prompt, **options)  # type: ignore[arg-type]

    asked = task("病假有几天？", HANDBOOK, OTHER)
    count = CopyGenerator().count_tokens
    room = count(
        prompt.strict(
            asked.query, [HANDBOOK], language="zh", refusal=asked.refusal, budget=9_999, count=count
        ).text
    )
    list(Ground(Watching(), room, 64).draft(asked))
    assert seen and seen[0] is not None and len(seen[0]) == 1


def test_a_free_answer_keeps_only_marks_a_sentence_bears_out() -> None:
    generator = ScriptedGenerator("病假每年不超过十二天[2]。灯塔高三十米[2]。恒星很远[1]。见[8]。")
    shown, draft = drafted(Free(generator, GREEDY, 2_000, 99), task("病假？", OTHER, HANDBOOK))
    assert shown == draft.text
    assert draft.text.startswith("病假每年不超过十二天[2]。") and "[8]" not in draft.text
    assert "[1]" not in draft.text
    assert evidence(draft)[0] == "病假每年不超过十二天。"


def test_a_free_answer_streams_before_it_is_finished() -> None:
    stream = iter(Free(CopyGenerator(), GREEDY, 2_000, 99).draft(task("病假有几天？", HANDBOOK)))
    first = next(stream)
    assert isinstance(first, Delta) and not first.finish
    *_, last, _ = stream
    assert isinstance(last, Delta) and last.finish == "stop"
