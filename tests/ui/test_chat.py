"""The chat page answers with marked sources, keeps sessions apart and trusts no document."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rwkv_rag import app
from rwkv_rag.errors import WorkerLost
from rwkv_rag.rag.pipeline import Pipeline
from rwkv_rag.types import Delta, Writer
from rwkv_rag.ui.__main__ import SCRIPT

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)

import streamlit as st  # isort: skip
from streamlit.testing.v1 import AppTest  # isort: skip


def opened() -> AppTest:
    return AppTest.from_file(str(SCRIPT), default_timeout=20).run()


def html(page: AppTest) -> str:
    return "\n".join(element.body for element in page.get("html"))


def ask(page: AppTest, question: str) -> AppTest:
    return page.chat_input[0].set_value(question).run()


def test_without_a_base_the_page_says_where_to_make_one(client: app.Client) -> None:
    page = opened()
    assert not page.exception
    assert "Knowledge page" in page.info[0].value
    assert len(page.chat_input) == 0


def test_an_answer_comes_with_its_quote_marked(base: str) -> None:
    page = ask(opened(), "What is the annual fee?")
    assert not page.exception
    assert "<mark>The annual fee is" in html(page)
    assert any("garden" in expander.label for expander in page.expander)


def test_nothing_a_document_says_becomes_html(base: str) -> None:
    shown = html(ask(opened(), "What is the annual fee?"))
    assert "<script>" not in shown and "&lt;script&gt;" in shown
    assert "<img" not in shown


def test_a_document_name_is_no_markdown(base: str) -> None:
    page = ask(opened(), "What is the annual fee?")
    label = next(expander.label for expander in page.expander if "garden" in expander.label)
    assert "<b>" not in label


def test_a_question_without_an_answer_is_refused(base: str) -> None:
    shown = html(ask(opened(), "Who won the world cup?"))
    assert "rag-refused" in shown and "<mark>" not in shown


def test_sessions_do_not_see_each_other(base: str) -> None:
    first, second = opened(), opened()
    ask(first, "What is the annual fee?")
    assert len(second.run().chat_message) == 0
    assert len(first.chat_message) == 2


def test_six_turns_are_handed_to_the_pipeline(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    answered = Pipeline.answer

    def spy(self: Pipeline, question: str, **options: object) -> object:
        seen.append([turn.question for turn in options["history"]])  # type: ignore[attr-defined]
        return answered(self, question, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Pipeline, "answer", spy)
    page = opened()
    for number in range(8):
        ask(page, f"What is the annual fee {number}?")
    assert seen[0] == []
    assert seen[7] == [f"What is the annual fee {number}?" for number in range(1, 7)]


def test_a_new_chat_forgets_the_old_one(base: str) -> None:
    page = ask(opened(), "What is the annual fee?")
    page.button[0].click().run()
    assert len(page.chat_message) == 0


def test_the_page_speaks_chinese(base: str) -> None:
    page = opened()
    page.segmented_control(key="language").set_value("zh").run()
    assert not page.exception
    assert "向你的文档提问" in html(page)
    assert page.chat_input[0].placeholder == "请输入问题"


def test_another_language_keeps_the_mode(base: str) -> None:
    page = opened()
    page.radio(key="mode").set_value("free").run()
    page.segmented_control(key="language").set_value("zh").run()
    assert page.radio(key="mode").value == "free"


@pytest.mark.parametrize(
    ("locale", "title"), [("zh-CN", "向你的"), ("en-US", "Ask"), (None, "Ask")]
)
def test_a_page_begins_in_the_language_of_the_browser(
    base: str, monkeypatch: pytest.MonkeyPatch, locale: str | None, title: str
) -> None:
    monkeypatch.setattr(type(st.context), "locale", property(lambda self: locale))
    assert title in html(opened())


def test_an_error_is_shown_in_the_conversation(base: str, client: app.Client) -> None:
    page = opened()
    client.knowledge.delete(base)
    page = ask(page, "What is the annual fee?")
    assert not page.exception


LOST = "the worker llm-1 of llm was lost; ask again"


def test_a_worker_that_dies_is_one_line_and_the_next_question_works(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, answered = opened(), Pipeline.answer

    def dies(*_: object, **__: object) -> Iterator[Delta]:
        yield Delta("The annual ")
        raise WorkerLost(LOST)

    monkeypatch.setattr(Pipeline, "answer", dies)
    ask(page, "What is the annual fee?")
    assert not page.exception
    assert [error.value for error in page.error] == [LOST.replace("-", "\\-")]
    monkeypatch.setattr(Pipeline, "answer", answered)
    ask(page, "What is the annual fee?")
    assert not page.error and "<mark>The annual fee is" in html(page)


def test_while_nobody_tells_the_models_a_question_can_be_asked(
    base: str, client: app.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> list[Writer]:
        raise WorkerLost(LOST)

    monkeypatch.setattr(client.models, "writers", lost)
    page = opened()
    assert len(page.error) == 1 and not page.exception
    assert "<mark>" in html(ask(page, "What is the annual fee?"))
