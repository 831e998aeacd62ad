"""Batches: what is in them, what never is, and what they depend on."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import prepare
import pytest
import torch
from batches import HELD_OUT, Pairs, Passages, Spans, Stream, pad, window
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from .conftest import TINY, byte_tokenizer

ROWS = 3 * HELD_OUT
MARK = re.compile(r"<(\d+)>")


class Inclined(np.random.Generator):
    """A generator that always finds it likely enough to show the answer."""

    def random(self, *args: object, **kwargs: object) -> float:  # type: ignore[override]
        return 0.0


@pytest.fixture
def reading(tmp_path: Path) -> Path:
    """Row n asks about n; its answer `<n>` stands in a passage too long for a window."""
    rows = (
        (f"{n}?", "x" * (n % 90) + f"<{n}>" + "y" * 60, n % 90, n % 90 + len(f"<{n}>"))
        for n in range(ROWS)
    )
    prepare.save_reading(byte_tokenizer(), rows, tmp_path / "reading.npz")
    return tmp_path / "reading.npz"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Query `<n>` belongs to passage `<n // 2>`: two queries share each; two sources."""
    rows = [
        {"query": f"<{n}>", "positive": f"<{n // 2}> text", "source": "ab"[n % 3 == 0]}
        for n in range(2 * ROWS)
    ]
    prepare.save_pairs(byte_tokenizer(), rows, tmp_path / "pairs.npz")
    return tmp_path / "pairs.npz"


def texts(ids: Tensor) -> list[str]:
    return [byte_tokenizer().decode(row) for row in ids.tolist()]


def numbers(ids: Tensor) -> list[int]:
    """The number each row is marked with."""
    return [int(MARK.search(text)[1]) for text in texts(ids)]  # type: ignore[index]


def batches(source: Passages, count: int = 40) -> list[Spans]:
    rng = np.random.default_rng(3)
    return [source.batch(rng, 8, 64) for _ in range(count)]


@given(st.integers(1, 300), st.integers(1, 100), st.data())
def test_a_window_is_full_and_holds_the_answer_if_it_fits(
    length: int, room: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(-1, length - 1))
    end = data.draw(st.integers(start, length - 1)) if start >= 0 else -1
    rng = Inclined(np.random.PCG64(data.draw(st.integers(0, 9))))
    low, high = window(rng, length, room, start, end)
    assert 0 <= low < high <= length and high - low == min(length, room)
    if start >= 0 and end - start < room:
        assert low <= start <= end < high


def test_the_span_of_a_row_is_the_answer_of_its_question(reading: Path) -> None:
    shown = hidden = 0
    for batch in batches(Passages(reading, TINY.newline)):
        for row in range(len(batch.ids)):
            ids, start, end = batch.ids[row], int(batch.start[row]), int(batch.end[row])
            asked = byte_tokenizer().decode(ids.tolist()).split("?")[0]
            if start == end == 0:
                hidden += 1
                continue
            shown += 1
            assert byte_tokenizer().decode(ids[start : end + 1].tolist()) == f"<{asked}>"
            assert batch.allowed[row, start] and batch.allowed[row, end]
    assert shown > 4 * hidden > 0


def test_a_row_may_point_at_its_passage_or_at_nothing(reading: Path) -> None:
    for batch in batches(Passages(reading, TINY.newline), 5):
        for ids, length, allowed in zip(batch.ids, batch.lengths, batch.allowed, strict=True):
            first = ids.tolist().index(TINY.newline) + 1
            wanted = [0, *range(first, int(length))]
            assert allowed.nonzero()[:, 0].tolist() == wanted
            assert ids[int(length) :].eq(0).all()


def test_rows_held_back_never_occur_in_training(reading: Path) -> None:
    def asked(held_out: bool) -> set[int]:
        found = batches(Passages(reading, TINY.newline, held_out=held_out), 400)
        return {int(text.lstrip("\0").split("?")[0]) for b in found for text in texts(b.ids)}

    with pytest.raises(ValueError, match="larger"):  # three rows are no batch of eight
        asked(True)
    trained = asked(False)
    kept_back = Passages(reading, TINY.newline, held_out=True).rows.tolist()
    assert kept_back == [0, HELD_OUT, 2 * HELD_OUT]
    assert trained == set(range(ROWS)) - set(kept_back)


def test_passages_held_back_never_occur_in_training(pairs: Path) -> None:
    source = Pairs(pairs, TINY.newline)
    rng = np.random.default_rng(1)
    seen: set[int] = set()
    for _ in range(150):
        (queries, _), (passages, _), _ = source.batch(rng, 8, 8, 24)
        ids, _, _ = source.judged(rng, 8, 48)
        seen |= {n // 2 for n in numbers(queries)} | set(numbers(passages)) | set(numbers(ids))
    assert seen == set(range(ROWS)) - {0, HELD_OUT, 2 * HELD_OUT}
    rest = Pairs(pairs, TINY.newline, held_out=True)
    (queries, _), _, _ = rest.batch(rng, 6, 8, 24)
    assert {n // 2 for n in numbers(queries)} == {0, HELD_OUT, 2 * HELD_OUT}


def test_same_marks_other_rows_whose_passage_is_right_too(pairs: Path) -> None:
    source = Pairs(pairs, TINY.newline)
    rng = np.random.default_rng(2)
    marked = 0
    for _ in range(20):
        (queries, _), (passages, _), same = source.batch(rng, 60, 8, 24)
        asked, given_ = numbers(queries), numbers(passages)
        for row, query in enumerate(asked):
            assert given_[row] == query // 2
            right = [n == query // 2 and other != row for other, n in enumerate(given_)]
            assert same[row].tolist() == right
        marked += int(same.sum())
    assert marked > 0


def test_a_judged_row_is_right_when_the_document_is_the_queries_own(pairs: Path) -> None:
    source = Pairs(pairs, TINY.newline)
    rng = np.random.default_rng(4)
    labels = []
    for _ in range(50):
        ids, lengths, label = source.judged(rng, 8, 48)
        for text, length, found in zip(texts(ids), lengths, label, strict=True):
            document, query = (int(n) for n in MARK.findall(text))
            assert found == float(query // 2 == document)
            assert text[int(length) - 1 :].strip("\0") == "" and length <= 48
        assert label[1::2].eq(1).all()
        labels += label.tolist()
    assert 0.5 <= sum(labels) / len(labels) < 0.6


def test_a_batch_depends_only_on_its_generator(reading: Path, pairs: Path, prepared: Path) -> None:
    def drawn(seed: int) -> list[Tensor]:
        def rng() -> np.random.Generator:
            return np.random.default_rng(seed)

        rows = passages.batch(rng(), 8, 64)
        (queries, _), (positives, _), _ = source.batch(rng(), 8, 8, 24)
        judged, _, _ = source.judged(rng(), 8, 48)
        return [rows.ids, rows.start, queries, positives, judged, stream.batch(rng(), 3, 20)]

    passages, source = Passages(reading, TINY.newline), Pairs(pairs, TINY.newline)
    stream = Stream(prepared / "lm.npz")
    first, other, again = drawn(1), drawn(2), drawn(1)
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


def test_padding_stands_on_the_right_and_lengths_do_not_count_it() -> None:
    ids, lengths = pad([[5, 6], [7, 8, 9], []], 4)
    assert ids.tolist() == [[5, 6, 0, 0], [7, 8, 9, 0], [0, 0, 0, 0]]
    assert lengths.tolist() == [2, 3, 0]
