"""Draws the next token from logits. Knows numbers and token ids; nothing of models or text.

The order of operations is that of the `rwkv` package, so that the community's settings mean the
same: penalties on the logits, then the nucleus (top-p) and top-k of the *untempered* distribution,
and the temperature last, on what is left. Each draw decays all counts by `penalty_decay`, then
counts the drawn token; the presence penalty stays. Spaces, tabs and digits are never penalised,
another convention of that package: tables and numbers repeat them rightly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from rwkv_rag.errors import CorruptData, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rwkv_rag.types import Sampling

_HEAD = 256  # candidates looked at before sorting the whole vocabulary; a nucleus rarely has more


class Sampler:
    """The choices of one generation: settings, random numbers and counts of what was drawn."""

    def __init__(self, sampling: Sampling, vocab: int, *, unpenalised: Iterable[int] = ()) -> None:
        """`vocab` is the length of the logits; tokens in `unpenalised` may repeat freely."""
        _check(sampling)
        self._sampling = sampling
        self._vocab = vocab
        self._all = np.arange(vocab, dtype=np.intp)
        self._random = np.random.default_rng(sampling.seed)
        self._penalises = bool(sampling.presence_penalty or sampling.frequency_penalty)
        self._counts: dict[int, float] = {}
        self._unpenalised = frozenset(unpenalised)

    def draw(self, logits: NDArray[np.float32], allowed: NDArray[np.intp] | None = None) -> int:
        """Choose and count a token. `logits` has shape (vocab,) and stays as it is.

        `allowed` are the ids that may be drawn (None: all). Raises InputError if there are none,
        and CorruptData if no logit among them is a number.
        """
        candidates, probabilities = self.distribution(logits, allowed)
        cumulative = np.cumsum(probabilities)
        place = int(np.searchsorted(cumulative, self._random.random() * cumulative[-1], "right"))
        token = int(candidates[min(place, len(candidates) - 1)])
        self._count(token)
        return token

    def distribution(
        self, logits: NDArray[np.float32], allowed: NDArray[np.intp] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The tokens that the next draw may choose, likeliest first, and their probabilities."""
        ids, scores = self._penalised(logits, allowed)
        if self._sampling.temperature == 0:
            return ids[[int(np.argmax(scores))]], np.ones(1)
        weights = np.exp(scores - scores.max())
        order = _nucleus(weights, self._sampling.top_p, self._sampling.top_k)
        with np.errstate(over="ignore"):  # a tiny temperature sends all but the best to exp(-inf)
            kept = np.exp((scores[order] - scores[order[0]]) / self._sampling.temperature)
        return ids[order], kept / kept.sum()

    def _penalised(
        self, logits: NDArray[np.float32], allowed: NDArray[np.intp] | None
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Allowed ids and their finite logits less the penalties; NaN counts as impossible."""
        if logits.shape != (self._vocab,):
            raise InputError(
                "logits of shape {shape} for a vocabulary of {vocab}",
                shape=logits.shape,
                vocab=self._vocab,
            )
        scores = logits.astype(np.float64)
        if self._penalises and self._counts:
            ids = np.fromiter(self._counts, dtype=np.intp)
            counts = np.fromiter(self._counts.values(), dtype=np.float64)
            scores[ids] -= self._sampling.frequency_penalty * counts
            scores[ids] -= self._sampling.presence_penalty
        chosen = self._all if allowed is None else allowed
        if len(chosen) == 0:
            raise InputError("no token is allowed here")
        picked = scores if allowed is None else scores[allowed]
        if np.isfinite(picked).all():  # as it nearly always is
            return chosen, picked
        picked = np.nan_to_num(picked, nan=-np.inf, posinf=1e30, neginf=-np.inf)
        possible = picked > -np.inf
        if not possible.any():
            raise CorruptData(
                "the model's output holds no number; its weights or its state are damaged"
            )
        return chosen[possible], picked[possible]

    def _count(self, token: int) -> None:
        if not self._penalises:
            return
        for seen in self._counts:
            self._counts[seen] *= self._sampling.penalty_decay
        if token not in self._unpenalised:
            self._counts[token] = self._counts.get(token, 0.0) + 1.0


def unpenalised_tokens(token_bytes: Callable[[int], bytes], vocab: int) -> frozenset[int]:
    """Ids of the tokens that consist of spaces, tabs and digits only."""
    free = b" \t0123456789"
    tokens = ((i, token_bytes(i)) for i in range(vocab))
    return frozenset(i for i, token in tokens if token and not token.strip(free))


def _nucleus(weights: NDArray[np.float64], top_p: float, top_k: int) -> NDArray[np.intp]:
    """Indices of the heaviest weights that together reach `top_p` of the sum, heaviest first.

    At least one, at most `top_k` if that is not 0; of equal weights the lower index goes first.
    """
    needed = top_p * float(weights.sum()) if top_p < 1 else math.inf
    most = min(top_k or len(weights), len(weights))
    order = _heaviest(weights, min(most, _HEAD))
    reached = np.cumsum(weights[order])
    if reached[-1] < needed and len(order) < most:
        order = _heaviest(weights, most)
        reached = np.cumsum(weights[order])
    return order[: int(np.searchsorted(reached, needed)) + 1]


def _heaviest(weights: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    if count < len(weights):
        floor = np.partition(weights, len(weights) - count)[len(weights) - count]
        indices = np.flatnonzero(weights >= floor)
    else:
        indices = np.arange(len(weights), dtype=np.intp)
    return indices[np.argsort(-weights[indices], kind="stable")][:count]


def _check(sampling: Sampling) -> None:
    limits = {
        "temperature": (sampling.temperature, 0.0, math.inf),
        "top_p": (sampling.top_p, 0.0, 1.0),
        "top_k": (sampling.top_k, 0, math.inf),
        "presence_penalty": (sampling.presence_penalty, -math.inf, math.inf),
        "frequency_penalty": (sampling.frequency_penalty, -math.inf, math.inf),
        "penalty_decay": (sampling.penalty_decay, 0.0, 1.0),
    }
    for name, (value, low, high) in limits.items():
        if not (math.isfinite(value) and low <= value <= high):
            raise InputError(
                "sampling.{name} is {value}; it must be from {low} to {high}",
                name=name,
                value=value,
                low=low,
                high=high,
            )
    if sampling.seed is not None and sampling.seed < 0:
        raise InputError("sampling.seed is {seed}; it must not be negative", seed=sampling.seed)
