"""Amounts are short and read the same way everywhere on the page."""

from __future__ import annotations

import math

import pytest

from rwkv_rag import app

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)

from rwkv_rag.ui import amounts  # isort: skip


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(client: app.Client, seconds: float, said: str) -> None:
    assert amounts.duration(seconds) == said


@pytest.mark.parametrize("seconds", [None, math.inf, math.nan, -1])
def test_an_unknown_duration_is_a_dash(client: app.Client, seconds: float | None) -> None:
    assert amounts.duration(seconds) == "–"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0004, "0.4 ms"), (0.0383, "38 ms"), (1.24, "1.2 s"), (None, "–"), (math.nan, "–")],
)
def test_latencies(client: app.Client, seconds: float | None, said: str) -> None:
    assert amounts.latency(seconds) == said


def test_memory_and_counts() -> None:
    assert amounts.memory(52_400_000) == "52 MB" and amounts.memory(1_440_000_000) == "1.4 GB"
    assert amounts.count(262_144) == "262,144" and amounts.count(12_400_000) == "12.4 M"
    assert amounts.loss(None) == "–" and amounts.loss(2.34567) == "2.346"
