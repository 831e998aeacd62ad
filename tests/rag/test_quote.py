"""The answer without a model: the sentence that shares most with the question."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.rag.quote import quotes, support
from rwkv_rag.rag.sentences import sentences

HANDBOOK = "员工手册第三版。员工每年享有十天带薪年假。病假每年不超过十二天。加班须经主管批准。"
LIGHTHOUSE = (
    "The island lies far in the north. The lighthouse was built in 1875 by local masons. "
    "It is 31.5 metres tall. The keeper lived there with his family."
)


def quoted(question: str, *passages: str) -> str:
    best = quotes(question, passages)[0]
    return passages[best.passage][best.start : best.end]


def test_the_sentence_that_answers_is_quoted() -> None:
    assert quoted("病假有几天？", HANDBOOK) == "病假每年不超过十二天。"
    assert quoted("When was the lighthouse built?", LIGHTHOUSE) == (
        "The lighthouse was built in 1875 by local masons."
    )
    assert quoted("How many metres tall is it?", LIGHTHOUSE) == "It is 31.5 metres tall."


def test_a_better_sentence_of_a_lower_passage_wins_and_an_equal_one_does_not() -> None:
    assert quotes("病假有几天？", ["今天下雨。", HANDBOOK])[0].passage == 1
    assert quotes("病假有几天？", [HANDBOOK, HANDBOOK])[0].passage == 0


def test_nothing_shared_is_nothing_quoted() -> None:
    assert quotes("火星上的重力是多少？", [LIGHTHOUSE]) == []
    assert quotes("年假？", []) == [] and quotes("？", [HANDBOOK]) == []


def test_coverage_tells_a_full_match_from_a_word_in_common() -> None:
    full = quotes("lighthouse built in 1875", [LIGHTHOUSE])[0].coverage
    slight = quotes("Which telescope did the keeper buy in Oslo?", [LIGHTHOUSE])[0].coverage
    assert full > 0.9 and slight < 0.5


def test_support_finds_the_sentence_behind_a_statement() -> None:
    best = support("The tower is 31.5 metres tall", LIGHTHOUSE)
    assert best is not None and LIGHTHOUSE[best.start : best.end] == "It is 31.5 metres tall."
    assert support("量子力学", LIGHTHOUSE) is None


def test_a_few_shared_characters_do_not_bear_out_a_statement() -> None:
    sentence = "如今没奈何，把你雇在隔壁人家放牛，每月可以得他几钱银子，你又有现成饭吃。"
    assert support("王冕替隔壁秦老家放牛", sentence) is not None
    assert support("用，在个人，有个，在个人信息。", sentence) is None


@given(
    st.text(alphabet="年假病十天有a b.。？", max_size=30),
    st.lists(st.text(max_size=80), max_size=4),
)
def test_a_quote_is_always_one_whole_sentence_of_its_passage(
    question: str, passages: list[str]
) -> None:
    for each in quotes(question, passages, limit=2):
        assert (each.start, each.end) in sentences(passages[each.passage])
        assert 0 < each.coverage <= 1.000001
