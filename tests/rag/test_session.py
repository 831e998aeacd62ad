"""A conversation."""

from __future__ import annotations

import pytest

from rwkv_rag.rag.answering import Answerer
from rwkv_rag.rag.pipeline import Pipeline
from rwkv_rag.rag.session import Session
from rwkv_rag.testing import MemoryKnowledge, text_document
from rwkv_rag.types import Answer, Turn

HANDBOOK = "公司员工每年享有十天带薪年假。公司病假每年不超过十二天。"


@pytest.fixture
def session() -> Session:
    stored = MemoryKnowledge()
    stored.create("kb")
    list(stored.add("kb", [text_document("手册.txt", HANDBOOK)]))
    return Session(Pipeline(stored, Answerer()), kb="kb")


def ask(session: Session, question: str) -> Answer:
    *_, answer = session.ask(question)
    assert isinstance(answer, Answer)
    return answer


def test_a_follow_up_is_understood_from_the_turn_before(session: Session) -> None:
    assert "十天" in ask(session, "公司年假有几天？").text
    answer = ask(session, "那病假呢？")
    assert answer.query == "公司病假有几天？" and "十二天" in answer.text


def test_six_turns_are_remembered(session: Session) -> None:
    for number in range(8):
        ask(session, f"公司第{number}种假有几天？")
    assert len(session.history) == 6 and session.history[0].question.startswith("公司第2种")


def test_a_refusal_is_remembered_without_its_text(session: Session) -> None:
    assert ask(session, "Who wrote it?").refused
    assert session.history == (Turn("Who wrote it?", ""),)


def test_an_answer_that_was_broken_off_is_not_remembered(session: Session) -> None:
    stream = session.ask("公司年假有几天？")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert session.history == ()


def test_a_cleared_session_understands_nothing_from_before(session: Session) -> None:
    ask(session, "公司年假有几天？")
    session.clear()
    assert ask(session, "那病假呢？").query == "那病假呢？"
