"""From passages to a checked answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rwkv_rag.errors import InputError
from rwkv_rag.rag.answering import CANNOT_WRITE, REFUSAL, Answerer, Answering, Mode
from rwkv_rag.rag.citations import Given
from rwkv_rag.rag.strategies import UNPROVEN
from rwkv_rag.testing import CopyGenerator, OverlapReader, ScriptedGenerator
from rwkv_rag.types import Answer, Chunk, Delta, Hit, Language, SourceSpan

TEXT = "The lighthouse was built in 1875. It is 31.5 metres tall."
HIT = Hit(Chunk("c", "island.txt", 0, 10, 10 + len(TEXT), TEXT), 1.0, 0.9)
QUESTION = "How many metres tall is it?"


def finished(answerer: Answerer, mode: Mode = "strict", hits: list[Hit] | None = None) -> Answer:
    given = [HIT] if hits is None else hits
    *deltas, answer = answerer.answer(QUESTION, given, record=Given([HIT]), mode=mode)
    assert isinstance(answer, Answer)
    shown = "".join(delta.text for delta in deltas if isinstance(delta, Delta))
    assert shown.strip() == answer.text
    last = deltas[-1]
    assert isinstance(last, Delta) and last.finish
    return answer


@pytest.mark.parametrize(
    "answerer",
    [
        Answerer(),
        Answerer(Answering(strategy="read"), reader=OverlapReader()),
        Answerer(Answering(strategy="ground"), generator=CopyGenerator()),
    ],
    ids=["quote", "read", "ground"],
)
def test_every_strict_strategy_answers_with_a_checked_quote(answerer: Answerer) -> None:
    answer = finished(answerer)
    assert answer.text == "It is 31.5 metres tall." and not answer.refused
    (citation,) = answer.citations
    assert (citation.document, citation.quote) == ("island.txt", answer.text)
    assert citation.start == 10 + TEXT.index("It is")


def test_an_answer_says_that_no_model_made_it() -> None:
    assert "no model" in finished(Answerer()).note


def test_a_strict_answer_whose_proof_fails_is_a_refusal_and_is_never_shown() -> None:
    forged = replace(HIT, chunk=replace(HIT.chunk, text=TEXT.replace("31.5", "91.5")))
    answer = finished(Answerer(), hits=[forged])
    assert answer.refused and answer.text == REFUSAL["en"] and answer.citations == ()


def test_free_mode_writes_where_the_model_can() -> None:
    generator = ScriptedGenerator("It rises to 31.5 metres [1].")
    answer = finished(Answerer(Answering(writes=True), generator=generator), "free")
    assert answer.text == "It rises to 31.5 metres [1]." and answer.note == ""
    assert [citation.quote for citation in answer.citations] == ["It is 31.5 metres tall."]


@pytest.mark.parametrize(
    ("question", "written", "language"),
    [
        (QUESTION, "I do not know [1].", "en"),
        (QUESTION, "It is very tall.", "en"),
        ("灯塔有多高？", "灯塔很高。", "zh"),
    ],
)
def test_a_free_answer_that_nothing_backs_says_so(
    question: str, written: str, language: Language
) -> None:
    answerer = Answerer(Answering(writes=True), generator=ScriptedGenerator(written))
    *_, answer = answerer.answer(question, [HIT], record=Given([HIT]), mode="free")
    assert isinstance(answer, Answer) and not answer.refused and answer.citations == ()
    assert answer.note == UNPROVEN[language]


def test_a_free_answer_whose_evidence_does_not_hold_says_so() -> None:
    moved = Given([replace(HIT, chunk=replace(HIT.chunk, start=0))])
    generator = ScriptedGenerator("It rises to 31.5 metres [1].")
    answerer = Answerer(Answering(writes=True), generator=generator)
    *_, answer = answerer.answer(QUESTION, [HIT], record=moved, mode="free")
    assert isinstance(answer, Answer) and answer.citations == ()
    assert answer.note == UNPROVEN["en"]


def test_free_mode_falls_back_to_quoting_and_says_so() -> None:
    for answerer in (Answerer(), Answerer(Answering(writes=False), generator=ScriptedGenerator())):
        answer = finished(answerer, "free")
        assert answer.note == CANNOT_WRITE["en"] and answer.citations


def test_the_note_of_a_fallback_speaks_the_language_of_the_question() -> None:
    *_, answer = Answerer().answer(
        "lighthouse metres tall 是多少？", [HIT], record=Given([HIT]), mode="free"
    )
    assert isinstance(answer, Answer) and answer.note == CANNOT_WRITE["zh"]


def test_a_generator_that_lies_about_its_span_is_not_cited() -> None:
    lie = [Delta("91.5 metres"), Delta("", finish="stop", span=SourceSpan(0, 900, 905))]
    answerer = Answerer(Answering(strategy="ground"), generator=ScriptedGenerator(lie))
    *_, answer = answerer.answer(QUESTION, [HIT], record=Given([HIT]))
    assert isinstance(answer, Answer) and answer.refused and answer.text == REFUSAL["en"]


def test_timings_name_their_stages() -> None:
    assert set(finished(Answerer()).timings) == {"quote", "cite"}
    reading = Answerer(Answering(strategy="read"), reader=OverlapReader())
    assert set(finished(reading).timings) == {"read", "cite"}


@pytest.mark.parametrize("strategy", ["read", "ground"])
def test_a_strategy_without_its_model_is_refused_by_name(strategy: str) -> None:
    with pytest.raises(InputError, match=strategy):
        Answerer(Answering(strategy=strategy))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.5}, {"coverage": -0.1}, {"top_k": 0}, {"quotes": 0}]
)
def test_nonsense_settings_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Answering(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_a_tuned_model_wrote_names_it_and_what_is_unproven(language: Language) -> None:
    def note(reply: str, question: str) -> str:
        how = Answering(writes=True, writer="poet")
        answerer = Answerer(how, generator=ScriptedGenerator(reply))
        *_, answer = answerer.answer(question, [HIT], record=Given([HIT]), mode="free")
        assert isinstance(answer, Answer)
        return answer.note

    question = QUESTION if language == "en" else "灯塔有多高？"
    proven = note("It is 31.5 metres tall [1].", question)
    assert "poet" in proven and UNPROVEN[language] not in proven
    assert note("Very tall.", question).removeprefix(proven).strip() == UNPROVEN[language]


def test_a_quoted_answer_does_not_name_what_did_not_write_it() -> None:
    assert "poet" not in finished(Answerer(Answering(writer="poet"))).note
