from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from rwkv_rag.knowledge import lexical

TEXTS = {
    1: "本产品的质保期为两年，自购买之日起计算。",
    2: "退货请在七天内联系客服。",
    3: "The Warranty covers running engines.",
    4: "型号 RX-7900 的固件为 v2.0。",
    5: "保固期為兩年，請聯繫賣方。",
}


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE chunks (id INTEGER PRIMARY KEY, base INTEGER, text TEXT)")
    for base in (1, 2):
        lexical.create(db, base)
    for chunk, text in TEXTS.items():
        store(db, chunk, text)
    yield db
    db.close()


def store(db: sqlite3.Connection, chunk: int, text: str, base: int = 1) -> None:
    db.execute("INSERT INTO chunks VALUES (?, ?, ?)", (chunk, base, text))
    lexical.add(db, base, chunk, text)


def found(db: sqlite3.Connection, question: str, base: int = 1) -> list[int]:
    return [chunk for chunk, _ in lexical.look_up(db, base, question).ranked(10)]


@pytest.mark.parametrize(
    ("question", "chunk"),
    [
        ("质保期是多久？", 1),
        ("怎么退货", 2),
        ("ｗａｒｒａｎｔｙ", 3),
        ("Does it cover an engine that runs?", 3),
        ("rx-7900", 4),
        ("V2.0 的固件", 4),
        ("保固期多長", 5),
    ],
)
def test_the_right_chunk_comes_first(db: sqlite3.Connection, question: str, chunk: int) -> None:
    assert found(db, question)[0] == chunk


def test_a_version_is_found_as_a_whole(db: sqlite3.Connection) -> None:
    store(db, 6, "版本 2.0 与 v3.1 的固件，0 v2")
    assert found(db, "v2.0")[0] == 4


def test_words_cut_differently_are_found_by_their_pairs(db: sqlite3.Connection) -> None:
    store(db, 6, "鬼厉原名张小凡，拜入青云门。")
    assert found(db, "张小凡是谁")[0] == 6


@pytest.mark.parametrize(
    "question", ['"', "AND OR NOT", "a* (b", "NEAR(x, 2)", "？！", "words:x", "-"]
)
def test_query_syntax_is_only_text(db: sqlite3.Connection, question: str) -> None:
    assert isinstance(found(db, question), list)


def test_what_was_removed_is_never_found_again(db: sqlite3.Connection) -> None:
    lexical.remove(db, 1, [1])
    assert 1 not in found(db, "质保期为两年")
    assert lexical.indexed(db, 1) == {2, 3, 4, 5}


def test_bases_keep_their_own_words(db: sqlite3.Connection) -> None:
    store(db, 7, "质保三年", base=2)
    assert found(db, "质保", base=2) == [7]
    lexical.drop(db, 2)
    assert found(db, "质保期")[0] == 1


def test_the_share_is_one_when_all_words_are_held_and_falls_with_missing_ones(
    db: sqlite3.Connection,
) -> None:
    whole = lexical.look_up(db, 1, "质保期有多久？").share(1)
    partly = lexical.look_up(db, 1, "火星的质保期有多久？").share(1)
    assert whole == pytest.approx(1.0)
    assert 0 < partly < 0.7
    assert lexical.look_up(db, 1, "火星总监").share(1) == 0.0


def test_rare_words_weigh_more(db: sqlite3.Connection) -> None:
    for chunk in range(10, 40):
        store(db, chunk, "普通的说明文字。")
    lookup = lexical.look_up(db, 1, "质保 说明")
    assert lookup.share(1) > 0.6 > 0.4 > lookup.share(10)


def test_very_frequent_words_are_left_out_as_long_as_others_remain(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lexical, "FREQUENT_FLOOR", 3)
    for chunk in range(10, 20):
        store(db, chunk, "普通文字")
    assert set(found(db, "普通 质保期")) == {1}
    assert set(found(db, "普通")) == set(range(10, 20))


def test_a_question_of_stop_words_alone_still_searches(db: sqlite3.Connection) -> None:
    store(db, 6, "什么是爱")
    assert found(db, "什么") == [6]


def test_words_are_folded() -> None:
    assert lexical.words("ＲＷＫＶ、V2.0 ①") == ["rwkv", "v2", "0", "1"]
    assert lexical.compounds("ＲX-7900 和 V2.0。") == ["rx-7900", "v2.0"]
    assert lexical.pairs("质保a两 年限") == ["质保", "年限"]
