"""The loss of one run or of two as a chart. Knows numbers and Vega-Lite's
language, no page and no job.

The raw loss of a step is noisy: it is drawn thin, a running mean over it drawn strong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

POINTS = 400
"""Points drawn of a run; more only make the browser slow."""
COLOURS = ("#0f766e", "#d97706")


@dataclass(frozen=True, slots=True)
class Curve:
    """The loss of a run, in nats a token: `losses[i]` of step `steps[i]`, and a mean over it.

    `total` is how many steps the run is to have: the axis shows how far it is. `before` and `after`
    were measured on rows held out, at step 0 and at the last step.
    """

    name: str
    steps: Sequence[int]
    losses: Sequence[float]
    means: Sequence[float]
    total: int = 0
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """The words on the chart, in the reader's language."""

    step: str
    loss: str
    run: str
    held_out: str
    before: str
    after: str


def curve(
    name: str,
    metrics: Sequence[Mapping[str, float]],
    *,
    total: int = 0,
    before: float | None = None,
    after: float | None = None,
    points: int = POINTS,
) -> Curve:
    """What is drawn of `metrics`: finite losses only, averaged to at most `points` of them."""
    known = [(int(each["step"]), float(each["loss"])) for each in metrics if "loss" in each]
    known = [(step, loss) for step, loss in known if math.isfinite(loss)]
    size = max(1, math.ceil(len(known) / points))
    buckets = [known[start : start + size] for start in range(0, len(known), size)]
    steps = [bucket[-1][0] for bucket in buckets]
    losses = [sum(loss for _, loss in bucket) / len(bucket) for bucket in buckets]
    return Curve(name, steps, losses, running_mean(losses), total, before, after)


def running_mean(values: Sequence[float]) -> list[float]:
    """The mean over about a tenth of the values around each; at the ends over what is there.

    As many before as behind, so that the curve does not lag behind a loss that falls.
    """
    reach = max(1, min(20, len(values) // 20))
    sums = [0.0, *accumulate(values)]
    means = []
    for place in range(len(values)):
        near = min(reach, place, len(values) - 1 - place)
        means.append((sums[place + near + 1] - sums[place - near]) / (2 * near + 1))
    return means


def values(curves: Sequence[Curve], labels: Labels) -> list[dict[str, object]]:
    """One row a point of a line, and one a mark (`mark` names it, on a line's points it is "")."""
    rows: list[dict[str, object]] = []
    for each in curves:
        for step, loss, mean in zip(each.steps, each.losses, each.means, strict=True):
            rows.append({"run": each.name, "step": step, "loss": loss, "mean": mean, "mark": ""})
        last = each.steps[-1] if each.steps else 0
        for step, held, mark in ((0, each.before, labels.before), (last, each.after, labels.after)):
            if held is not None and math.isfinite(held):
                rows.append({"run": each.name, "step": step, "loss": held, "mark": mark})
    return rows


def spec(curves: Sequence[Curve], labels: Labels, *, height: int = 330) -> dict[str, Any]:
    """The Vega-Lite chart of `values`: curves over one another, each in its colour."""
    names = [each.name for each in curves]
    legend = {"orient": "top", "title": None, "symbolOpacity": 1, "symbolStrokeWidth": 3}
    tips = [("run", labels.run, ""), ("step", labels.step, ""), ("loss", labels.loss, ".3f")]
    return {
        "height": height,
        "encoding": {
            "x": {
                "field": "step",
                "type": "quantitative",
                "axis": {"title": labels.step, "tickMinStep": 1, "grid": False},
                "scale": {"domain": [0, max(1, *(each.total for each in curves))], "nice": False},
            },
            "color": {
                "field": "run",
                "type": "nominal",
                "scale": {"domain": names, "range": list(COLOURS[: len(names)])},
                "legend": legend if len(names) > 1 else None,
            },
            "tooltip": [
                {"field": field, "title": title, **({"format": form} if form else {})}
                for field, title, form in tips
            ],
        },
        "layer": [
            _line("loss", labels.loss, strokeWidth=1, opacity=0.35),
            _line("mean", labels.loss, strokeWidth=2.6, interpolate="monotone"),
            _marks(labels),
        ],
    }


def _line(field: str, title: str, **style: object) -> dict[str, Any]:
    return {
        "transform": [{"filter": "datum.mark === ''"}],
        "mark": {"type": "line", **style},
        "encoding": {"y": _loss_axis(field, title)},
    }


def _marks(labels: Labels) -> dict[str, Any]:
    return {
        "transform": [{"filter": "datum.mark !== ''"}],
        "mark": {"type": "point", "shape": "diamond", "size": 140, "filled": True, "opacity": 1},
        "encoding": {
            "y": _loss_axis("loss", labels.loss),
            "tooltip": [
                {"field": "run", "title": labels.run},
                {"field": "loss", "title": labels.loss, "format": ".3f"},
                {"field": "mark", "title": labels.held_out},
            ],
        },
    }


def _loss_axis(field: str, title: str) -> dict[str, Any]:
    return {
        "field": field,
        "type": "quantitative",
        "scale": {"zero": False, "nice": True},
        "axis": {"title": title},
    }
