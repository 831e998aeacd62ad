"""From a question to a cited answer, over a knowledge base."""

from __future__ import annotations

import pytest

from rwkv_rag.errors import InputError, NotFound
from rwkv_rag.question import LONGEST_QUESTION
from rwkv_rag.rag.answering import REFUSAL, Answerer, Answering
from rwkv_rag.rag.pipeline import Pipeline
from rwkv_rag.testing import MemoryKnowledge, ScriptedGenerator, text_document
from rwkv_rag.types import Answer, Delta, Hit, Turn

HANDBOOK = (
    "员工手册第三版。公司员工每年享有十天带薪年假。公司病假每年不超过十二天。加班须经主管批准。"
)
ISLAND = "The lighthouse was built in 1875. The lighthouse is 31.5 metres tall. Seals live here."


class Counting(MemoryKnowledge):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.queries: list[str] = []

    def search(self, name: str, query: str, **options: object) -> list[Hit]:
        self.queries.append(query)
        return super().search(name, query, **options)  # type: ignore[arg-type]


@pytest.fixture
def knowledge() -> Counting:
    stored = Counting()
    stored.create("kb", chunk_size=60, chunk_overlap=10)
    documents = [text_document("手册.txt", HANDBOOK), text_document("island.txt", ISLAND)]
    list(stored.add("kb", documents))
    return stored


def ask(
    knowledge: MemoryKnowledge, question: str, *history: Turn, settings: Answering | None = None
) -> Answer:
    pipeline = Pipeline(knowledge, Answerer(settings), check_documents=True)
    *_, answer = pipeline.answer(question, kb="kb", history=history)
    assert isinstance(answer, Answer)
    return answer


def test_a_question_is_answered_with_its_source(knowledge: Counting) -> None:
    answer = ask(knowledge, "公司员工每年有几天年假？")
    assert "十天" in answer.text and answer.query == "公司员工每年有几天年假？"
    (citation,) = answer.citations
    assert HANDBOOK[citation.start : citation.end] == citation.quote
    assert citation.chunk in {hit.chunk.id for hit in answer.hits}


def test_a_follow_up_is_searched_and_answered_as_understood(knowledge: Counting) -> None:
    answer = ask(knowledge, "那病假呢？", Turn("公司年假有几天？", "十天"))
    assert answer.query == "公司病假有几天？" == knowledge.queries[0]
    assert "十二天" in answer.text
    tall = ask(knowledge, "And how tall is it?", Turn("When was the lighthouse built?", "1875"))
    assert "31.5" in tall.text and "lighthouse" in tall.query


def test_a_reading_that_finds_nothing_falls_back_to_the_question_as_typed(
    knowledge: Counting,
) -> None:
    history = Turn("Zanzibar exports quartz?", "")
    answer = ask(knowledge, "Do they live here?", history, settings=Answering(threshold=0.4))
    assert knowledge.queries == ["Do they live here? Zanzibar exports quartz", "Do they live here?"]
    assert answer.query == "Do they live here?"


def test_nothing_relevant_is_a_refusal_and_the_model_is_not_asked(knowledge: Counting) -> None:
    generator = ScriptedGenerator()  # any question to it would raise
    answerer = Answerer(
        Answering(strategy="ground", threshold=0.6, writes=True), generator=generator
    )
    pipeline = Pipeline(knowledge, answerer)
    for mode in ("strict", "free"):
        delta, answer = pipeline.answer("公司食堂的菜单？", kb="kb", mode=mode)
        assert isinstance(answer, Answer) and answer.refused and answer.hits
        assert delta == Delta(REFUSAL["zh"], finish="refusal") and answer.text == REFUSAL["zh"]
    assert generator.prompts == []


def test_an_empty_base_is_a_refusal_in_the_language_of_the_question() -> None:
    empty = MemoryKnowledge()
    empty.create("kb")
    assert ask(empty, "When was it built?").text == REFUSAL["en"]
    assert ask(empty, "哪年建成？").text == REFUSAL["zh"]


def test_timings_add_up_to_the_total(knowledge: Counting) -> None:
    timings = dict(ask(knowledge, "公司年假？").timings)
    total = timings.pop("total")
    assert set(timings) == {"search", "quote", "cite"} and 0 < sum(timings.values()) <= total


@pytest.mark.parametrize("question", ["", "  \n　"])
def test_an_empty_question_is_refused_at_once(knowledge: Counting, question: str) -> None:
    with pytest.raises(InputError, match="empty"):
        Pipeline(knowledge, Answerer()).answer(question, kb="kb")


def test_a_question_too_long_is_refused_with_its_length_and_the_limit(knowledge: Counting) -> None:
    pipeline = Pipeline(knowledge, Answerer())
    with pytest.raises(InputError, match=r"100,000.*8,000"):
        pipeline.answer("长" * 100_000, kb="kb")
    assert ask(knowledge, "长" * LONGEST_QUESTION).refused


def test_an_unknown_base_is_named(knowledge: Counting) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        list(Pipeline(knowledge, Answerer()).answer("?a", kb="nowhere"))


def test_top_k_bounds_the_hits(knowledge: Counting) -> None:
    pipeline = Pipeline(knowledge, Answerer())
    *_, answer = pipeline.answer("lighthouse built 1875 公司", kb="kb", top_k=1)
    assert isinstance(answer, Answer) and len(answer.hits) == 1
    with pytest.raises(InputError, match="top_k"):
        pipeline.answer("a", kb="kb", top_k=0)


def test_a_document_deleted_while_it_is_quoted_is_not_shown(knowledge: Counting) -> None:
    class Vanishing(Counting):
        def search(self, name: str, query: str, **options: object) -> list[Hit]:
            hits = super().search(name, query, **options)
            self.remove(name, "手册.txt")
            return hits

    stored = Vanishing()
    stored.create("kb")
    list(stored.add("kb", [text_document("手册.txt", HANDBOOK)]))
    assert ask(stored, "公司年假有几天？").refused


def test_passages_given_are_answered_from_without_a_search(knowledge: Counting) -> None:
    hits = knowledge.search("kb", "lighthouse tall metres")
    knowledge.queries.clear()
    pipeline = Pipeline(knowledge, Answerer())
    *_, answer = pipeline.answer_from("How many metres tall is the lighthouse?", hits)
    assert isinstance(answer, Answer) and "31.5" in answer.text
    assert knowledge.queries == [] and "total" in answer.timings
