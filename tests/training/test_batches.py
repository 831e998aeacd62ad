"""Batches: what is in them, what never is, and what they depend on."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import prepare
import pytest
import torch
from batches import HELD_OUT, Pairs, Passages, Spans, Steps, feed, moved, pad, window
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from .conftest import TASKS, TINY, byte_tokenizer

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
        prepare.Example(
            f"{n}?",
            "x" * (n % 90) + f"<{n}>" + "y" * 60,
            n % 90,
            n % 90 + len(f"<{n}>"),
            "even" if n % 2 == 0 else "odd",
        )
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

    kept_back = asked(True)
    assert kept_back == {0, HELD_OUT, 2 * HELD_OUT}
    assert asked(False) == set(range(ROWS)) - kept_back


def test_questions_about_one_passage_are_held_back_together(tmp_path: Path) -> None:
    rows = (prepare.Example(f"{n}?", f"passage {n // 3}", -1, -1, "s") for n in range(ROWS))
    prepare.save_reading(byte_tokenizer(), rows, tmp_path / "reading.npz")
    kept_back = Passages(tmp_path / "reading.npz", TINY.newline, held_out=True).rows.tolist()
    assert kept_back == [0, 1, 2]


def test_a_source_is_drawn_as_often_as_its_weight_says(reading: Path) -> None:
    rng = np.random.default_rng(5)
    source = Passages(reading, TINY.newline, {"odd": 3.0})
    drawn = [
        int(text.lstrip("\0").split("?")[0]) for text in texts(source.batch(rng, 2000, 64).ids)
    ]
    assert 0.7 < sum(number % 2 for number in drawn) / len(drawn) < 0.8


def test_passages_held_back_never_occur_in_training(pairs: Path) -> None:
    source = Pairs(pairs, TINY.newline)
    rng = np.random.default_rng(1)
    seen: set[int] = set()
    for _ in range(150):
        batch = source.batch(rng, 8, 8, 24)
        seen |= {n // 2 for n in numbers(batch.query)}
        seen |= set(numbers(batch.passage))
    assert seen == set(range(ROWS)) - {0, HELD_OUT, 2 * HELD_OUT}
    rest = Pairs(pairs, TINY.newline, held_out=True)
    queries = numbers(rest.batch(rng, 6, 8, 24).query)
    assert {n // 2 for n in queries} == {0, HELD_OUT, 2 * HELD_OUT}


def test_same_marks_other_rows_whose_passage_is_right_too(pairs: Path) -> None:
    source = Pairs(pairs, TINY.newline)
    rng = np.random.default_rng(2)
    marked = 0
    for _ in range(20):
        batch = source.batch(rng, 60, 8, 24)
        asked, given_, same = numbers(batch.query), numbers(batch.passage), batch.same
        for row, query in enumerate(asked):
            assert given_[row] == query // 2
            right = [n == query // 2 and other != row for other, n in enumerate(given_)]
            assert same[row].tolist() == right
        marked += int(same.sum())
    assert marked > 0


def test_pairs_in_one_row_are_the_pairs_of_the_padded_batch(pairs: Path) -> None:
    source = Pairs(pairs, TINY.newline)
    padded = source.batch(np.random.default_rng(6), 8, 8, 24)
    flat = source.strung(np.random.default_rng(6), 8, 8, 24)
    for row, length in enumerate(padded.passage_lengths.tolist()):
        first, last = flat.passage_offsets[row : row + 2].tolist()
        assert flat.passage[first:last].tolist() == padded.passage[row, :length].tolist()
    assert len(flat.query_offsets) == 9 and int(flat.query_offsets[-1]) == len(flat.query)
    assert torch.equal(flat.same, padded.same)


def test_the_rarity_of_a_token_grows_with_the_passages_that_lack_it(pairs: Path) -> None:
    rarity = Pairs(pairs, TINY.newline).rarity(257)
    everywhere, sometimes, never = (rarity[ord(letter) + 1] for letter in "t7z")
    assert everywhere < sometimes < never


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_depends_only_on_its_step(prepared: Path, task: str) -> None:
    def tensors(step: int) -> list[Tensor]:
        batch = steps.batch(task, np.random.default_rng(step), step)
        return [getattr(batch, each.name) for each in fields(batch)]

    steps = Steps(prepared, TINY)
    first, other, again = tensors(1), tensors(2), tensors(1)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


@pytest.mark.parametrize("workers", [0, 1])
def test_fed_batches_are_those_of_their_steps_whoever_makes_them(
    prepared: Path, workers: int
) -> None:
    steps = Steps(prepared, TINY)
    for step, (task, batch) in zip(range(3, TINY.steps), feed(steps, 3, workers), strict=True):
        wanted, same = steps[step]
        assert task == wanted
        assert all(
            torch.equal(getattr(batch, each.name), getattr(same, each.name))
            for each in fields(batch)
        )


def test_moving_a_batch_keeps_what_is_in_it(prepared: Path) -> None:
    batch = Steps(prepared, TINY).words(0)
    there = moved(batch, torch.device("meta"))
    assert there.passage.shape == batch.passage.shape and there.passage.is_meta


def test_padding_stands_on_the_right_and_lengths_do_not_count_it() -> None:
    ids, lengths = pad([[5, 6], [7, 8, 9], []], 4)
    assert ids.tolist() == [[5, 6, 0, 0], [7, 8, 9, 0], [0, 0, 0, 0]]
    assert lengths.tolist() == [2, 3, 0]


def test_passages_lose_the_share_of_tokens_that_is_asked_for(pairs: Path) -> None:
    source = Pairs(pairs, TINY.newline)
    whole = source.strung(np.random.default_rng(7), 60, 8, 24)
    less = source.strung(np.random.default_rng(7), 60, 8, 24, lost=0.3)
    assert torch.equal(less.query, whole.query)
    assert 0.55 < len(less.passage) / len(whole.passage) < 0.85
    assert less.passage_offsets.diff().min() > 0 and int(less.passage_offsets[-1]) == len(
        less.passage
    )
