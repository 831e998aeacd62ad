"""Every way of fine-tuning on one real task: what it learns, what it costs, what is written then.

usage: python benchmarks/tuning_methods.py [--steps N] [--out FOLDER] [METHOD …]

The task is in examples/quatrains.jsonl: classical Chinese poems of four lines of five or seven
characters, asked for by their title. The last 40 rows are never given to the tuner; for their
titles poems are written before and after. FOLDER receives results.json and curves.svg.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rwkv_rag import app, config
from rwkv_rag.interfaces import Tuner
from rwkv_rag.types import Sampling, TuneMethod, TuneSettings

DATA = Path(__file__).parents[1] / "examples" / "quatrains.jsonl"
ASKED = 40
METHODS: tuple[TuneMethod, ...] = ("state", "lora", "pissa", "miss", "full")
LENGTHS = {"五": 5, "七": 7}
PROMPT = "User: {question}\n\nAssistant:"
SAMPLING = Sampling(temperature=0.6, top_p=0.5, seed=1)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("methods", nargs="*", default=list(METHODS), metavar="METHOD")
    options.add_argument("--steps", type=int, default=200)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--out", type=Path, default=Path("tuning-results"))
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    rows = DATA.read_text(encoding="utf-8").splitlines()
    asked = [json.loads(row) for row in rows[-ASKED:]]
    with (
        tempfile.TemporaryDirectory(prefix="rwkv-rag-bench-") as home,
        app.open_client(app.elsewhere(config.load(), Path(home))) as parts,
    ):
        data = Path(home) / "rows.jsonl"
        data.write_text("\n".join(rows[:-ASKED]) + "\n", encoding="utf-8")
        results = {"base": written(parts, "", asked)}
        for method in given.methods:
            wanted = TuneSettings(
                name=f"poems-{method}",
                data=data,
                method=method,
                steps=given.steps,
                batch=given.batch,
                context=128,
            )
            results[method] = tuned(parts.tuner, wanted)
            results[method] |= written(parts, wanted.name, asked)
            print(json.dumps(summary(method, results[method]), ensure_ascii=False))
    (given.out / "results.json").write_text(json.dumps(results, ensure_ascii=False, indent=1))
    draw(results, given.out / "curves.svg")
    print(table(results))


def tuned(tuner: Tuner, wanted: TuneSettings) -> dict[str, Any]:
    """Run one job to its end; its figures and the loss of every step."""
    began = time.perf_counter()
    estimate = tuner.estimate(wanted)
    job = tuner.start(wanted)
    while (job := tuner.job(job.id)).status in ("waiting", "running"):
        time.sleep(0.5)
    if job.status != "done":
        sys.exit(f"{wanted.name} {job.status}: {job.reason}\n{tuner.logs(job.id)}")
    steps = tuner.metrics(job.id)
    return {
        "before": job.before,
        "after": job.after,
        "seconds": time.perf_counter() - began,
        "tokens_per_s": sorted(step["tokens_per_s"] for step in steps)[len(steps) // 2],
        "memory_mb": job.memory_bytes / 2**20,
        "estimated_mb": estimate.memory_bytes / 2**20,
        "trainable": estimate.trainable,
        "losses": [step["loss"] for step in steps],
        "lr": max(step["lr"] for step in steps),
    }


def written(parts: app.Client, name: str, asked: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Poems for the titles; shares of poems that come to an end, of lines of the right length."""
    generator = parts.generator(parts.writer(tuned=name))  # a full tuning is a model of its own
    poems, ended, lines, right = [], 0, 0, 0
    for question in (row["question"] for row in asked):
        prompt = PROMPT.format(question=question)
        deltas = generator.generate(prompt, sampling=SAMPLING, max_tokens=80, stop=["\n\nUser:"])
        *_, last = pieces = list(deltas)
        poem = "".join(delta.text for delta in pieces).strip()
        ended += last.finish == "stop"
        found = [line for line in re.split(r"[，。？！\s]+", poem) if line]
        lines += len(found)
        right += sum(len(line) == LENGTHS[question[3]] for line in found)
        poems.append((question, poem))
    return {"ended": ended / len(asked), "lines": right / lines, "poems": poems[:6]}


def summary(method: str, result: Mapping[str, Any]) -> dict[str, Any]:
    left_out = ("losses", "poems")
    return {"method": method} | {k: v for k, v in result.items() if k not in left_out}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures as a Markdown table."""
    lines = [
        "| method | trains | held-out loss | ends | lines | tokens/s | seconds | MB (estimate) |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        f"| none | | | {shares(results['base'])} | | | |",
    ]
    for method, result in results.items():
        if method != "base":
            lines.append(
                f"| `{method}` | {result['trainable']:,} | {result['before']:.2f} → "
                f"{result['after']:.2f} | {shares(result)} | {result['tokens_per_s']:,.0f} "
                f"| {result['seconds']:.0f} | {result['memory_mb']:,.0f} "
                f"({result['estimated_mb']:,.0f}) |"
            )
    return "\n".join(lines)


def shares(result: Mapping[str, Any]) -> str:
    return f"{result['ended']:.0%} | {result['lines']:.0%}"


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """The smoothed losses of all methods in one picture."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.5, 3.8))
    for method, result in results.items():
        if method != "base":
            axes.plot(smoothed(result["losses"]), label=method, linewidth=1.6)
    axes.set(xlabel="step", ylabel="training loss, nats per token")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def smoothed(losses: Sequence[float], keep: float = 0.9) -> list[float]:
    """The exponential average of a curve, without the pull of its start."""
    average, weight, curve = 0.0, 0.0, []
    for loss in losses:
        average, weight = keep * average + (1 - keep) * loss, keep * weight + 1 - keep
        curve.append(average / weight)
    return curve


if __name__ == "__main__":
    main()
