"""The sampler against a slow reference of the rules it claims to follow, and against the odds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import CorruptData, InputError
from rwkv_rag.rwkv.sampling import Sampler, unpenalised_tokens
from rwkv_rag.types import Sampling


def reference(logits: list[float], sampling: Sampling) -> dict[int, float]:
    """The distribution in plain Python: softmax, nucleus, top-k, temperature, in this order."""
    top = max(logits)
    weights = [math.exp(x - top) for x in logits]
    order = sorted(range(len(logits)), key=lambda i: (-weights[i], i))
    kept: list[int] = []
    for i in order:
        kept.append(i)
        if sampling.top_p < 1 and sum(weights[j] for j in kept) >= sampling.top_p * sum(weights):
            break
    kept = kept[: sampling.top_k or None]
    tempered = {i: math.exp((logits[i] - top) / sampling.temperature) for i in kept}
    return {i: w / sum(tempered.values()) for i, w in tempered.items()}


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([1, 2, 7, 300, 700]),
    spread=st.sampled_from([0.01, 1.0, 8.0]),
    seed=st.integers(0, 10**6),
    temperature=st.sampled_from([0.2, 1.0, 3.0]),
    top_p=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    top_k=st.sampled_from([0, 1, 5, 400]),
)
def test_the_distribution_is_that_of_the_slow_reference(
    size: int, spread: float, seed: int, temperature: float, top_p: float, top_k: int
) -> None:
    # 300 and 700 tokens with a small spread need more candidates than the sampler sorts at first.
    logits = np.random.default_rng(seed).normal(0, spread, size).astype(np.float32)
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
    ids, probabilities = Sampler(sampling, size).distribution(logits)
    expected = reference([float(x) for x in logits], sampling)
    assert set(ids.tolist()) == set(expected)
    assert probabilities == pytest.approx([expected[i] for i in ids.tolist()], abs=1e-9)


@given(st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=40), st.floats(0.01, 0.99))
def test_the_nucleus_reaches_top_p_and_not_without_its_last_token(
    values: list[float], top_p: float
) -> None:
    logits = np.array(values, dtype=np.float32)
    ids, _ = Sampler(Sampling(top_p=top_p), len(values)).distribution(logits)
    full = np.exp(logits.astype(np.float64))
    share = full[ids] / full.sum()
    assert share.sum() >= top_p - 1e-9
    assert share[:-1].sum() < top_p


def test_temperature_zero_takes_the_best_token_and_the_lowest_id_of_equals() -> None:
    sampler = Sampler(Sampling(temperature=0.0), 4)
    assert [sampler.draw(np.array([1, 7, 7, 0], np.float32)) for _ in range(5)] == [1] * 5


def test_a_tiny_temperature_is_greedy_and_does_not_overflow() -> None:
    sampler = Sampler(Sampling(temperature=1e-300, top_p=1.0), 3)
    assert sampler.draw(np.array([-3, 2, 1], np.float32)) == 1


def test_equal_seeds_draw_equal_tokens_and_other_seeds_do_not() -> None:
    def drawn(seed: int) -> list[int]:
        sampler = Sampler(Sampling(top_p=1.0, seed=seed), 100)
        return [sampler.draw(np.zeros(100, np.float32)) for _ in range(20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)  # equal by chance: 100^-20


def test_tokens_are_drawn_as_often_as_their_probability_says() -> None:
    probabilities = np.array([0.5, 0.25, 0.15, 0.1])
    sampler = Sampler(Sampling(top_p=1.0, seed=7), 4)
    logits = np.log(probabilities).astype(np.float32)
    n = 4000
    counts = np.bincount([sampler.draw(logits) for _ in range(n)], minlength=4)
    # Five standard deviations: an honest sampler fails for one seed in about 400,000.
    assert (abs(counts - n * probabilities) < 5 * np.sqrt(n * probabilities)).all()


def test_only_allowed_tokens_are_drawn_even_if_others_are_likelier() -> None:
    sampler = Sampler(Sampling(top_p=1.0, seed=3), 50)
    logits = np.zeros(50, np.float32)
    logits[10] = 30
    assert {sampler.draw(logits, np.array([4, 9])) for _ in range(60)} == {4, 9}


def test_no_allowed_token_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no token is allowed"):
        Sampler(Sampling(), 3).draw(np.zeros(3, np.float32), np.array([], dtype=np.intp))


def test_penalties_follow_the_counts_with_decay() -> None:
    """Presence stays, frequency fades: as the `rwkv` package computes them."""
    sampling = Sampling(0.0, presence_penalty=0.5, frequency_penalty=2.0, penalty_decay=0.5)
    sampler = Sampler(sampling, 3)
    logits = np.array([5.0, 3.5, 0.0], np.float32)
    counts: dict[int, float] = {}
    for _ in range(12):
        scores = [
            float(x) - (0.5 + 2.0 * counts[i] if i in counts else 0) for i, x in enumerate(logits)
        ]
        expected = scores.index(max(scores))
        assert sampler.draw(logits) == expected
        counts = {i: c * 0.5 for i, c in counts.items()}
        counts[expected] = counts.get(expected, 0.0) + 1.0
    assert len(counts) == 2  # the penalties did change the choice
    assert logits.tolist() == [5.0, 3.5, 0.0]


def test_unpenalised_tokens_repeat_freely() -> None:
    sampling = Sampling(0.0, presence_penalty=9.0)
    logits = np.array([2.0, 1.0], np.float32)
    free = Sampler(sampling, 2, unpenalised={0})
    bound = Sampler(sampling, 2)
    assert [free.draw(logits) for _ in range(3)] == [0, 0, 0]
    assert [bound.draw(logits) for _ in range(2)] == [0, 1]


def test_spaces_tabs_and_digits_are_the_unpenalised_tokens() -> None:
    tokens = [b"", b" ", b"\t", b"7", b"2024", b" 3", b"\n", b"a1", b"\xe4"]
    assert unpenalised_tokens(tokens.__getitem__, len(tokens)) == {1, 2, 3, 4, 5}


def test_what_is_not_a_number_is_never_drawn() -> None:
    sampler = Sampler(Sampling(top_p=1.0, seed=0), 4)
    logits = np.array([np.nan, 1.0, -np.inf, 1.0], np.float32)
    assert {sampler.draw(logits) for _ in range(50)} == {1, 3}
    assert sampler.draw(np.array([0, np.nan, np.inf, 5], np.float32)) == 2


def test_logits_without_any_number_are_reported_as_damage() -> None:
    with pytest.raises(CorruptData, match="no number"):
        Sampler(Sampling(), 2).draw(np.array([np.nan, -np.inf], np.float32))


@pytest.mark.parametrize(
    ("sampling", "key"),
    [
        (Sampling(temperature=-1), "temperature"),
        (Sampling(temperature=math.nan), "temperature"),
        (Sampling(top_p=1.5), "top_p"),
        (Sampling(top_k=-1), "top_k"),
        (Sampling(presence_penalty=math.inf), "presence_penalty"),
        (Sampling(penalty_decay=2), "penalty_decay"),
        (Sampling(seed=-5), "seed"),
    ],
)
def test_nonsense_settings_are_refused_by_name(sampling: Sampling, key: str) -> None:
    with pytest.raises(InputError, match=rf"sampling\.{key}"):
        Sampler(sampling, 10)
