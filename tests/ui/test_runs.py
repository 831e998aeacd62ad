"""The chart of a loss: every finite step is in it, however long the run was."""

from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.types import TuneJob, TuneSettings

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)

from rwkv_rag.ui import runs  # isort: skip

losses = st.lists(st.floats(0, 20), min_size=1, max_size=300)


def metrics(values: list[float]) -> list[dict[str, float]]:
    return [{"step": step, "loss": loss} for step, loss in enumerate(values, 1)]


@given(losses, st.integers(1, 50))
def test_many_steps_become_few_points_of_the_same_mean(values: list[float], points: int) -> None:
    values = values * math.ceil(points / len(values))
    drawn = runs.curve("a", metrics(values), points=points)
    assert len(drawn) <= points and drawn[-1]["step"] == len(values)
    size = math.ceil(len(values) / points)
    assert math.isclose(drawn[0]["loss"], sum(values[:size]) / len(values[:size]), abs_tol=1e-9)


def test_what_is_no_number_is_left_out() -> None:
    values = [{"step": 1.0, "loss": 3.0}, {"step": 2.0, "loss": math.nan}, {"step": 3.0}]
    assert [point["step"] for point in runs.curve("a", values)] == [1]


@given(losses)
def test_the_mean_is_that_of_the_neighbours(values: list[float]) -> None:
    means = runs.running_mean(values)
    reach = max(1, min(20, len(values) // 20))
    for place, mean in enumerate(means):
        near = min(reach, place, len(values) - 1 - place)
        around = values[place - near : place + near + 1]
        assert math.isclose(mean, sum(around) / len(around), abs_tol=1e-9)


def test_a_falling_line_keeps_its_place() -> None:
    line = [10 - 0.05 * step for step in range(100)]
    assert all(math.isclose(a, b) for a, b in zip(runs.running_mean(line), line, strict=True))


def test_held_out_losses_are_marks_at_both_ends() -> None:
    settings = TuneSettings(name="a", data=Path("a.jsonl"))
    job = TuneJob("1", settings, "done", "", step=2, steps=10, before=2.9, after=2.5)
    assert [(mark["step"], mark["loss"], mark["mark"]) for mark in runs.held_out("a", job)] == [
        (0, 2.9, "before"),
        (2, 2.5, "after"),
    ]


def test_two_runs_share_an_axis_and_have_a_legend() -> None:
    points = [*runs.curve("short", metrics([1.0])), *runs.curve("long", metrics([1.0]))]
    encoding = runs.chart(points, ["short", "long"], 90).to_dict()["layer"][0]["encoding"]
    assert encoding["x"]["scale"]["domain"] == [0, 90]
    assert encoding["color"]["legend"] is not None
    alone = runs.chart(points, ["short"], 90).to_dict()["layer"][0]["encoding"]
    assert alone["color"]["legend"] is None
