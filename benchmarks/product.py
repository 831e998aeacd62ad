"""What a user of the program feels, on the model in the package: a table of figures and goals.

usage: python benchmarks/product.py [--model builtin|fake|FILE] [--repeats 5] [--json]
Every figure is the median of its repeats, after a first time that does not count. Works in a
temporary home and exits with 0 whether or not a goal is met. Knows the composition root and the
demonstration's documents and questions; it names no model and no store.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rwkv_rag import app, config, models
from rwkv_rag.cli.demo import DOCUMENTS, FOLLOW_UPS, QUESTIONS
from rwkv_rag.config import FAKE, Settings
from rwkv_rag.errors import RagError
from rwkv_rag.interfaces import Knowledge
from rwkv_rag.rag.language import detect
from rwkv_rag.rag.pipeline import Pipeline
from rwkv_rag.types import Answer, Delta, Turn

KB = "bench"
PASSAGES = 5
TEXT_BYTES = 2_000_000
FRAME = ("search", "cite", "total")
"""The timings of every answer; one more is named after the way it was made."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measurement and what it should reach: at least `goal`, or at most where that is better."""

    what: str
    unit: str
    measured: float
    goal: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.measured <= self.goal if self.at_most else self.measured >= self.goal

    def row(self) -> str:
        sign, met = "≤" if self.at_most else "≥", {True: "yes", False: "no", None: ""}[self.met]
        goal = "" if self.goal is None else f"{sign} {self.goal:g} {self.unit}"
        return f"| {self.what} | {self.measured:.3g} {self.unit} | {goal} | {met} |"


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer and the seconds to its first piece and to its end."""

    answer: Answer
    first_s: float
    whole_s: float

    @property
    def over_all_passages(self) -> bool:
        """Five passages were found and read; a refusal before that would flatter the times."""
        return len(self.answer.hits) == PASSAGES and "cite" in self.answer.timings

    @property
    def way(self) -> str:
        """The stage that made the answer: "quote" asks no model, the others do."""
        return next(name for name in self.answer.timings if name not in FRAME)


def measure(settings: Settings, repeats: int) -> dict[str, Figure]:
    """Every figure by name; `settings.home` is filled."""
    with app.open_client(app.elsewhere(settings, settings.home)) as parts:
        parts.answerer()  # a model that is none is said at once
    homes = [settings.home / str(number) for number in range(repeats + 1)]
    say(f"indexing the demonstration's documents {len(homes)} times")
    _, *rates = [indexing_rate(replace(settings, home=home)) for home in homes]
    filled = replace(settings, home=homes[-1])
    with app.open_client(app.elsewhere(filled, filled.home)) as parts:
        library = parts.knowledge
        say("tokenizing")
        tokenizer = tokenizer_rate(vocabulary(settings), chinese(library), repeats)
        say(f"searching for {len(QUESTIONS)} questions {len(homes)} times")
        search = search_s(library, repeats)
        say(f"answering {len(QUESTIONS)} questions {len(homes)} times")
        asked = answers(parts.pipeline(), repeats)
    say("starting the command")
    over = f"over {PASSAGES} chunks ({'/'.join(sorted({each.way for each in asked}))})"
    return {
        "tokenizer_mb_per_s": Figure("tokenizer, Chinese text", "MB/s", tokenizer, 3),
        "indexing_chunks_per_s": Figure("indexing", "chunks/s", median(rates), 20),
        "search_s": Figure("search", "s", search),
        "first_piece_s": at_most(2, f"first piece of an answer {over}", [a.first_s for a in asked]),
        "answer_s": Figure(f"whole answer {over}", "s", median(a.whole_s for a in asked)),
        "help_s": at_most(0.5, "rwkv-rag --help", [command_s(["--help"], repeats)]),
        "ask_s": Figure("rwkv-rag ask", "s", command_s(ask_arguments(filled), repeats)),
    }


def at_most(goal_s: float, what: str, times_s: Sequence[float]) -> Figure:
    return Figure(what, "s", median(times_s), goal_s, at_most=True)


def indexing_rate(settings: Settings) -> float:
    """Chunks a second, files to searchable base.

    The home must be fresh: in a used one the vectors of the same text are there already.
    """
    with app.open_client(app.elsewhere(settings, settings.home)) as parts:
        library = parts.knowledge
        library.create(KB)
        took = seconds(lambda: list(library.index(KB, [DOCUMENTS])))
        return library.base(KB).chunks / took


def chinese(library: Knowledge) -> str:
    """The Chinese demonstration documents over and over, as much as is worth timing."""
    texts = (library.document(KB, info.name).text for info in library.documents(KB))
    once = "\n".join(text for text in texts if detect(text) == "zh")
    return once * (TEXT_BYTES // len(once.encode()) + 1)


def vocabulary(settings: Settings) -> Path:
    """What texts are tokenized with; the stand-ins have none, so the World vocabulary serves."""
    return models.WORLD_VOCABULARY if settings.model == FAKE else models.BUILTIN_MODEL / "vocab.txt"


def tokenizer_rate(file: Path, text: str, repeats: int) -> float:
    """Million UTF-8 bytes a second, from str to a list of token ids."""
    from rwkv_rag.rwkv.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_file(file)
    return len(text.encode()) / 1e6 / repeated(lambda: tokenizer.encode(text), repeats)


def search_s(library: Knowledge, repeats: int) -> float:
    """Seconds a search takes with everything it does before an answer, reranking included."""
    return median(
        repeated(partial(library.search, KB, query, top_k=PASSAGES), repeats) for query in QUESTIONS
    )


def answers(pipeline: Pipeline, repeats: int) -> list[Asked]:
    """Answers to the demonstration's questions that were looked for in all passages."""
    rounds = [conversation(pipeline) for _ in range(repeats + 1)]
    kept = [each for asked in rounds[1:] for each in asked if each.over_all_passages]
    if not kept:
        raise RagError(f"no question was answered over {PASSAGES} passages; nothing to time")
    return kept


def conversation(pipeline: Pipeline) -> list[Asked]:
    """Every question once; a follow-up comes with the turn before it."""
    done, before = list[Asked](), list[Turn]()
    for question in QUESTIONS:
        done.append(ask(pipeline, question, before if question in FOLLOW_UPS else []))
        answer = done[-1].answer
        before = [Turn(question, "" if answer.refused else answer.text)]
    return done


def ask(pipeline: Pipeline, question: str, history: list[Turn]) -> Asked:
    """One answer, timed as somebody who reads along would."""
    started, first = time.perf_counter(), None
    for event in pipeline.answer(question, kb=KB, history=history, top_k=PASSAGES):
        if isinstance(event, Delta):
            if first is None and event.text:
                first = time.perf_counter() - started
        else:
            answer = event
    whole = time.perf_counter() - started
    return Asked(answer, whole if first is None else first, whole)


def ask_arguments(settings: Settings) -> list[str]:
    home, model = str(settings.home), settings.model
    return ["ask", QUESTIONS[0], "--kb", KB, "--home", home, "--model", model]


def command_s(arguments: list[str], repeats: int) -> float:
    """Seconds from starting the command in a new process to its end."""
    beside = shutil.which("rwkv-rag", path=str(Path(sys.executable).parent))
    start = [beside] if beside else [sys.executable, "-c", "from rwkv_rag.cli import main; main()"]

    def run() -> None:
        done = subprocess.run([*start, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RagError(f"rwkv-rag {arguments[0]} failed: {done.stderr.strip()[-400:]}")

    return repeated(run, repeats)


def repeated(action: Callable[[], object], repeats: int) -> float:
    """The median of `repeats` times in seconds, after one that does not count."""
    action()
    return median(seconds(action) for _ in range(repeats))


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def machine() -> dict[str, object]:
    """What the figures hold for. The load of the minute before shows what disturbed them."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def known(settings: Settings) -> dict[str, object]:
    """What the manifest says of the model that searches: with weights of 0 it is not asked."""
    if settings.model == FAKE:
        return {}
    text = (models.BUILTIN_MODEL / "manifest.json").read_text(encoding="utf-8")
    manifest: dict[str, object] = json.loads(text)
    return manifest


def say(stage: str) -> None:
    print(stage, file=sys.stderr)


def table(about: dict[str, object], model: str, figures: dict[str, Figure]) -> str:
    machine = "{cpu}, {cores} cores, {system}, Python {python}, torch {torch}; load before: {load}"
    lines = [machine.format(**about), model, "", "| | measured | goal | met |", "|---|--:|--:|---|"]
    return "\n".join([*lines, *(figure.row() for figure in figures.values())])


def described(settings: Settings) -> str:
    """The model in a line, with what decides how much of it a search asks."""
    if settings.model == FAKE:
        return "model: fake; stand-ins, whose figures say nothing about a model"
    weights = "beside words, vectors weigh {fusion_weight:g} and reranking {rerank_weight:g}"
    return f"model: {settings.model}; {weights.format(**known(settings))}"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="builtin, fake or a checkpoint that writes the answers")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one object instead of a table")
    chosen = parser.parse_args()
    if chosen.repeats < 1:
        parser.error(f"--repeats is {chosen.repeats}; give a whole number from 1")
    return chosen


def main() -> None:
    chosen, about = options(), machine()
    with tempfile.TemporaryDirectory(prefix="rwkv-rag-", ignore_cleanup_errors=True) as folder:
        try:
            settings = config.load(home=Path(folder), model=chosen.model)
            figures = measure(settings, chosen.repeats)
        except RagError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
    if chosen.json:
        named = {name: {**asdict(each), "met": each.met} for name, each in figures.items()}
        model = {"model": settings.model, "manifest": known(settings), "repeats": chosen.repeats}
        print(json.dumps({"machine": about, **model, "figures": named}, ensure_ascii=False))
        return
    print(table(about, described(settings), figures))


if __name__ == "__main__":
    main()
