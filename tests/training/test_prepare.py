"""From rows of text to token arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import prepare
import pytest
from batches import Ragged
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.rwkv.tokenizer import Tokenizer

from .conftest import TINY, byte_tokenizer

WORDS = st.text(alphabet="灯塔高建于年 ab1,。", max_size=30)


def test_of_two_places_of_the_answer_the_one_near_the_question_wins() -> None:
    passage = "李明远生于1875年，" + "幼时家贫，随父打鱼。" * 8 + "岛上的灯塔建成于1875年。"
    start, end = prepare.best_place("灯塔建成于哪一年？", passage, "1875年")
    assert start == passage.rindex("1875年") and passage[start:end] == "1875年"


@given(WORDS, WORDS, WORDS, WORDS, st.sampled_from(["1875", "灯塔", "("]))
def test_the_best_place_holds_the_answer(
    question: str, before: str, between: str, after: str, answer: str
) -> None:
    passage = before + answer + between + answer + after
    start, end = prepare.best_place(question, passage, answer)
    assert passage[start:end] == answer


@pytest.mark.parametrize(
    ("answers", "answerable", "found"),
    [
        (["七十三层", "31.5米"], True, "31.5米"),  # what is not there is passed over
        (["31.5", "31.5米"], True, "31.5"),  # the first answer is preferred
        ([], False, None),
        (["31.5米"], False, None),
    ],
)
def test_a_question_reads_from_its_first_answer_that_stands_in_the_passage(
    answers: list[str], answerable: bool, found: str | None
) -> None:
    record = {"passage": "塔高31.5米。", "question": "塔多高？", "answers": answers, "source": "s"}
    question, passage, start, end, _ = prepare.reading_row({**record, "answerable": answerable})
    assert (question, passage) == ("塔多高？", "塔高31.5米。")
    assert (start, end) == (-1, -1) if found is None else passage[start:end] == found


def test_an_answer_that_stands_nowhere_takes_its_row_out(tmp_path: Path) -> None:
    """Such a row taught the reader that what is there is not there."""
    record = {"passage": "塔很高。", "question": "塔多高？", "answers": ["31"], "answerable": True}
    lacking = prepare.reading_row({**record, "source": "towers"})
    rows = iter([lacking, prepare.Example("高？", "很高", 1, 2, "towers")])
    prepare.save_reading(byte_tokenizer(), rows, tmp_path / "rows.npz")
    assert len(np.load(tmp_path / "rows.npz")["start"]) == 1


@given(
    st.text(alphabet="灯塔高31.5米é🗼 ab", max_size=20),
    st.text(alphabet="灯塔高31.5米é🗼ab", min_size=1, max_size=8),
    st.text(alphabet="灯塔高31.5米é🗼 ab", max_size=20),
)
def test_the_tokens_of_an_answer_hold_it_and_no_token_more(
    tmp_path_factory: pytest.TempPathFactory, before: str, answer: str, after: str
) -> None:
    words = ["灯塔", "塔高", "31", "1.", "5米", " a", "ab", "米🗼"]
    tokenizer = Tokenizer([*byte_tokenizer().tokens, *(word.encode() for word in words)])
    passage, at = before + answer + after, len(before)
    path = tmp_path_factory.getbasetemp() / "one.npz"
    one = prepare.Example("?", passage, at, at + len(answer), "made up")
    prepare.save_reading(tokenizer, iter([one]), path)
    file = np.load(path)
    ids, first, last = Ragged(file, "passage")[0], int(file["start"][0]), int(file["end"][0])
    sizes = [len(tokenizer.tokens[i]) for i in ids]
    low, high = len(before.encode()), len((before + answer).encode())
    assert sum(sizes[:first]) <= low < sum(sizes[: first + 1])
    assert sum(sizes[:last]) < high <= sum(sizes[: last + 1])


def test_every_prepared_answer_decodes_to_text_that_contains_it(data: Path, prepared: Path) -> None:
    tokenizer = Tokenizer.from_file(prepared / "vocab.txt")
    questions = list(prepare.rows(data / "qa/train.jsonl.xz"))
    file = np.load(prepared / "reading.npz")
    passages, asked = Ragged(file, "passage"), Ragged(file, "question")
    assert len(questions) == len(passages) == len(asked)
    for number, row in enumerate(questions):
        first, last = int(file["start"][number]), int(file["end"][number])
        assert tokenizer.decode(asked[number]) == row["question"]
        assert tokenizer.decode(passages[number]) == row["passage"]
        assert (first >= 0) == row["answerable"]
        if row["answerable"]:
            assert row["answers"][0] in tokenizer.decode(passages[number][first : last + 1])


def test_the_pruned_vocabulary_keeps_all_bytes_and_the_order_of_the_world(prepared: Path) -> None:
    world = Tokenizer.from_file(prepare.SHIPPED)
    pruned = Tokenizer.from_file(prepared / "vocab.txt")
    assert pruned.vocab_size == TINY.shape.vocab
    assert pruned.tokens[:257] == world.tokens[:257]
    old = [world.tokens.index(token) for token in pruned.tokens[1:]]
    assert old == sorted(old)
    assert {"桥".encode(), b" bridges"} <= set(pruned.tokens)


def test_pairs_share_a_group_when_they_share_a_passage(tmp_path: Path) -> None:
    pairs = [
        {"query": query, "positive": positive, "source": source}
        for query, positive, source in [("a", "p", "y"), ("b", "q", "x"), ("c", "p", "y")]
    ]
    prepare.save_pairs(byte_tokenizer(), pairs, tmp_path / "pairs.npz")
    file = np.load(tmp_path / "pairs.npz")
    assert file["group"].tolist() == [0, 1, 0]
    assert file["source"].tolist() == [1, 0, 1]


def test_language_is_all_texts_with_an_end_of_text_before_each(data: Path, prepared: Path) -> None:
    tokenizer = Tokenizer.from_file(prepared / "vocab.txt")
    ids = np.load(prepared / "lm.npz")["ids"]
    borders = np.flatnonzero(ids == 0)
    pieces = [tokenizer.decode(piece) for piece in np.split(ids, borders)[1:]]
    texts = [row["text"] for path in (data / "text").iterdir() for row in prepare.rows(path)]
    assert borders[0] == 0 and sorted(pieces) == sorted(texts)
