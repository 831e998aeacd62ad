"""Batches follow from seed and step alone; no target is lost, no held-out row trained on."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import InputError
from rwkv_rag.tuning.batches import HELD_OUT_AT_MOST, Batch, Batches, split
from rwkv_rag.tuning.binidx import Writer
from rwkv_rag.tuning.stored import Rows, mask_path

Row = tuple[list[int], list[bool]]


def stored(folder: Path, rows: Sequence[Row]) -> Rows:
    with Writer(folder / "rows") as writer:
        for ids, _ in rows:
            writer.add(np.array(ids))
    flags = np.concatenate([np.array(flags, np.uint8) for _, flags in rows])
    mask_path(folder / "rows").write_bytes(flags.tobytes())
    return Rows.open(folder / "rows")


def numbered(lengths: Sequence[int]) -> list[Row]:
    """Rows of different tokens, all scored but the first."""
    rows, first = [], 1
    for length in lengths:
        rows.append(([*range(first, first + length - 1), 0], [False] + [True] * (length - 1)))
        first += length
    return rows


def seen(batches: Sequence[Batch]) -> Counter[tuple[int, int]]:
    """Every target with the token before it, counted."""
    found: Counter[tuple[int, int]] = Counter()
    for batch in batches:
        lines, places = torch.nonzero(batch.scored, as_tuple=True)
        assert not batch.scored[:, 0].any()
        before, at = batch.ids[lines, places - 1].tolist(), batch.ids[lines, places].tolist()
        found.update(zip(before, at, strict=True))
    return found


def epoch(batches: Batches, number: int = 0) -> list[Batch]:
    size = batches.batches_per_epoch
    return [batches.batch(step) for step in range(number * size, (number + 1) * size)]


ROWS = st.lists(
    st.integers(2, 24).flatmap(
        lambda n: st.lists(st.booleans(), min_size=n - 1, max_size=n - 1).map(
            lambda flags: [False, *flags]
        )
    ),
    min_size=1,
    max_size=12,
)


@given(ROWS, st.integers(1, 5), st.integers(2, 30), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_an_epoch_has_every_target_of_the_training_rows_once(
    flags: list[list[bool]], batch: int, context: int, seed: int
) -> None:
    rows: list[Row] = []
    for mask in flags:
        start = 100 * len(rows) + 1
        rows.append((list(range(start, start + len(mask))), mask))
    expected = Counter(
        (ids[t - 1], ids[t]) for ids, mask in rows for t in range(1, len(ids)) if mask[t]
    )
    with tempfile.TemporaryDirectory() as folder:
        opened = stored(Path(folder), rows)
        if not expected:
            with pytest.raises(InputError, match="anything to learn"):
                Batches(opened, batch=batch, context=context, seed=seed, held_out=0)
            return
        batches = Batches(opened, batch=batch, context=context, seed=seed, held_out=0)
        for number in (0, 1):
            assert seen(epoch(batches, number)) == expected
        for each in epoch(batches):
            assert each.ids.shape[1] <= context and len(each.ids) <= batch


def test_a_batch_follows_from_its_step_alone(tmp_path: Path) -> None:
    rows = stored(tmp_path, numbered([3, 9, 4, 12, 5, 7, 8]))

    def fresh(seed: int = 3) -> Batches:
        return Batches(rows, batch=2, context=6, seed=seed, held_out=0.2)

    walked = fresh()
    for step in (0, 1, 2, 30, 5, 0):
        assert torch.equal(walked.batch(step).ids, fresh().batch(step).ids)
    first, second = epoch(fresh(), 0), epoch(fresh(), 1)
    assert [each.ids.tolist() for each in first] != [each.ids.tolist() for each in second]
    assert [each.ids.tolist() for each in first] != [each.ids.tolist() for each in epoch(fresh(4))]


def test_padding_is_never_scored_and_lengths_say_where_it_begins(tmp_path: Path) -> None:
    batch = Batches(stored(tmp_path, numbered([3, 9])), batch=2, context=0, seed=0, held_out=0)
    only = batch.batch(0)
    assert sorted(only.lengths.tolist()) == [3, 9] and only.ids.shape == (2, 9)
    for line, length in enumerate(only.lengths.tolist()):
        assert not only.ids[line, length:].any() and not only.scored[line, length:].any()
        assert only.scored[line, 1:length].all()


def test_neighbours_are_of_like_length(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = stored(tmp_path, numbered(random.integers(2, 100, 64).tolist()))
    batches = Batches(rows, batch=4, context=0, seed=0, held_out=0)
    tokens = sum(int(each.lengths.sum()) for each in epoch(batches))
    cells = sum(each.ids.numel() for each in epoch(batches))
    assert tokens / cells > 0.9  # shuffled without regard to length it is about 0.6


def test_the_last_piece_of_a_long_row_has_as_much_before_its_answer_as_fits(tmp_path: Path) -> None:
    ids = [*range(1, 20), 0]
    rows = stored(tmp_path, [(ids, [False] * 17 + [True] * 3)])
    batches = Batches(rows, batch=4, context=8, seed=0, held_out=0)
    assert batches.rows_per_epoch == 1 and batches.cut == 1
    assert batches.batch(0).ids.tolist() == [ids[-8:]]


def test_devices_share_the_batches_of_one(tmp_path: Path) -> None:
    rows = stored(tmp_path, numbered([3, 9, 4, 12, 5, 7, 8, 6]))

    def lines(batch: Batch) -> list[list[int]]:
        return [ids[:n] for ids, n in zip(batch.ids.tolist(), batch.lengths.tolist(), strict=True)]

    alone = Batches(rows, batch=4, context=0, seed=1, held_out=0)
    pair = [
        Batches(rows, batch=2, context=0, seed=1, held_out=0, device_index=i, devices=2)
        for i in (0, 1)
    ]
    for step in range(5):
        together = [line for each in pair for line in lines(each.batch(step))]
        assert sorted(together) == sorted(lines(alone.batch(step)))


def test_every_device_has_rows_in_every_step(tmp_path: Path) -> None:
    rows = stored(tmp_path, numbered([3, 4, 5, 6, 7]))
    for step in range(6):
        sizes = {
            len(Batches(rows, batch=1, context=0, seed=1, held_out=0, device_index=i, devices=3)
                .batch(step).ids)
            for i in range(3)
        }  # fmt: skip
        assert sizes == {1}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.floats(0, 0.9), st.integers(0, 5))
@settings(max_examples=80, deadline=None)
def test_equal_rows_stay_on_one_side(contents: list[int], share: float, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = stored(Path(folder), [([n + 1, 0], [False, True]) for n in contents])
        train, out = split(rows, share=share, seed=seed)
    assert sorted([*train.tolist(), *out.tolist()]) == list(range(len(contents)))
    assert not {contents[n] for n in train} & {contents[n] for n in out}
    assert len(train)
    assert (len(out) > 0) == (share > 0 and len(set(contents)) > 1)


def test_the_share_held_out_is_about_what_was_asked_and_bounded(tmp_path: Path) -> None:
    rows = stored(tmp_path, numbered([3] * 8000))
    assert len(split(rows, share=0.01, seed=0)[1]) == 80
    assert len(split(rows, share=0.5, seed=0)[1]) == HELD_OUT_AT_MOST


def test_a_row_repeated_a_hundred_times_is_not_what_is_held_out(tmp_path: Path) -> None:
    same: list[Row] = [([1, 2, 0], [False, True, True])] * 100
    for seed in range(10):
        rows = stored(tmp_path, [*same, *numbered([4, 5, 6])])
        assert len(split(rows, share=0.1, seed=seed)[1]) <= 3


def test_what_is_held_out_is_measured_and_never_trained_on(tmp_path: Path) -> None:
    rows = stored(tmp_path, numbered([5] * 30))
    batches = Batches(rows, batch=4, context=3, seed=0, held_out=0.2)
    held, trained = seen(batches.held_out_batches()), seen(epoch(batches))
    assert sum(held.values()) == 6 * 4 and sum(trained.values()) == 24 * 4
    assert not {pair for pair in held if pair[1]} & {pair for pair in trained if pair[1]}
    again = Batches(rows, batch=4, context=3, seed=0, held_out=0.2).held_out_batches()
    assert [each.ids.tolist() for each in again] == [
        each.ids.tolist() for each in batches.held_out_batches()
    ]


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"context": 1}, {"held_out": 1.0}])
def test_impossible_wishes_are_told(tmp_path: Path, wrong: dict[str, float]) -> None:
    rows = stored(tmp_path, numbered([3, 4]))
    wishes = {"batch": 2, "context": 8, "seed": 0, "held_out": 0.1, **wrong}
    with pytest.raises(InputError, match="not possible"):
        Batches(rows, **wishes)  # type: ignore[arg-type]
