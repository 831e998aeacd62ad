"""Fit the weights of the span scorer, `rwkv_rag.rag.spans`, on training questions.

usage: python training/fit_spans.py DATA [--rows N] [--out FILE]

DATA is the data folder (qa/train.jsonl.xz; every 50th row is held back and only measured on). At
most N answerable questions of each language are used. Writes src/rwkv_rag/rag/span_weights.py, or
FILE, and prints the F1 of the best-scoring span on the questions fitted to and on those held back,
beside that of the weights that stand there now and of the best candidate there is.

The loss is the expected F1 of a span drawn from the softmax over all candidates, and a little
cross-entropy towards the good ones, which still has a slope where they are far behind. The same
data give the same file.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from batches import HELD_OUT
from rich.progress import track
from torch import Tensor

from rwkv_rag.evaluation.dataset import Row, read
from rwkv_rag.evaluation.metrics import tokens
from rwkv_rag.rag.language import detect
from rwkv_rag.rag.span_weights import WEIGHTS
from rwkv_rag.rag.spans import prepare
from rwkv_rag.types import Language

SHIPPED = Path(__file__).parents[1] / "src/rwkv_rag/rag/span_weights.py"
TEMPLATES = ("factbook", "kgclue")  # made from tables: they teach the template, not the language
SENTENCES = 3  # looked at in a passage, as by SpanReader
NAMES: Mapping[Language, str] = {"zh": "Chinese", "en": "English"}

EPOCHS, BATCH, RATE = 6, 32, 0.01
SHRINK = 1e-4  # weight of the sum of squared weights in the loss
PULL = 0.1  # weight of the cross-entropy in the loss


@dataclass(frozen=True, slots=True)
class Example:
    """The candidates of one question: their F1 (n,), and their signs as (candidate, sign, value)
    triples that are not 0, each (m,)."""

    f1: Tensor
    candidate: Tensor
    sign: Tensor
    value: Tensor

    def scores(self, weights: Tensor) -> Tensor:
        """The score (n,) of each candidate."""
        return torch.zeros_like(self.f1).index_add(
            0, self.candidate, self.value * weights[self.sign]
        )


def main(argv: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("data", type=Path)
    options.add_argument("--rows", type=int, default=4000, help="questions of each language")
    options.add_argument("--out", type=Path, default=SHIPPED)
    given = options.parse_args(argv)

    torch.set_num_threads(1)  # the vectors are short
    rows = read(given.data / "qa/train.jsonl.xz")
    fitted, used = {}, {}
    for language in NAMES:
        chosen = usable(row for n, row in enumerate(rows) if n % HELD_OUT)
        kept_back = usable(rows[::HELD_OUT])
        examples, held_out, signs = gather(
            language, chosen[language][: given.rows], kept_back[language]
        )
        used[language] = len(examples)
        weights = rounded(fit(examples, len(signs)), signs)
        report(language, signs, weights, {"fitted": examples, "held out": held_out})
        fitted[language] = weights
    given.out.write_text(module(fitted, used), encoding="utf-8")


def usable(rows: Iterable[Row]) -> Mapping[Language, list[Row]]:
    """Answerable questions about running text, by language, in an order that mixes the sources."""
    asked = [row for row in rows if row.answerable and row.source not in TEMPLATES]
    random.Random(0).shuffle(asked)
    return {each: [row for row in asked if detect(row.question) == each] for each in NAMES}


def gather(
    language: Language, fitting: Sequence[Row], measuring: Sequence[Row]
) -> tuple[list[Example], list[Example], list[str]]:
    """Both sets as examples, and the names of all signs that the first one shows."""
    signs: dict[str, int] = {}
    shown = track(fitting, f"reading {NAMES[language]}")
    examples = [found for row in shown if (found := example(row, signs, grow=True))]
    held_out = [found for row in measuring if (found := example(row, signs, grow=False))]
    return examples, held_out, list(signs)


def example(row: Row, signs: dict[str, int], *, grow: bool) -> Example | None:
    """The candidates of a question as SpanReader sees them; None where there are none.

    `signs` numbers the signs; unknown ones are added to it, or without `grow` weigh nothing.
    """
    prepared, likely = prepare(row.question, row.passage, SENTENCES)
    truths = [Counter(tokens(answer, row.lang)) for answer in row.answers]
    f1: list[float] = []
    triples: list[tuple[int, int, float]] = []
    for sentence in likely:
        for (start, end), shown in prepared.signs(row.passage, sentence):
            for name, value in shown.items():
                number = signs.setdefault(name, len(signs)) if grow else signs.get(name, -1)
                if value and number >= 0:
                    triples.append((len(f1), number, value))
            f1.append(best_f1(tokens(row.passage[start:end], row.lang), truths))
    if not triples:
        return None
    candidate, sign, value = zip(*triples, strict=True)
    return Example(
        torch.tensor(f1), torch.tensor(candidate), torch.tensor(sign), torch.tensor(value)
    )


def best_f1(found: Sequence[str], truths: Iterable[Counter[str]]) -> float:
    """`evaluation.metrics.f1`, with the right answers counted once for all candidates."""
    counted = Counter(found)
    shared = [(sum((counted & truth).values()), truth.total()) for truth in truths]
    return max((2 * n / (len(found) + total) for n, total in shared if n), default=0.0)


def fit(examples: Sequence[Example], signs: int) -> Tensor:
    """The weights (signs,): those of the later half of the epochs, averaged.

    Each sign is scaled by how much it varies, so that shrinking treats all alike.
    """
    scale = 1 / (deviation(examples, signs) + 0.05)
    weights = torch.zeros(signs, requires_grad=True)
    optimiser = torch.optim.Adam([weights], lr=RATE)
    total, count = torch.zeros(signs), 0
    for epoch in range(EPOCHS):
        for batch in shuffled(examples, epoch):
            loss = torch.stack([cost(each, weights * scale) for each in batch]).mean()
            loss = loss + SHRINK * weights.square().sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if epoch >= EPOCHS // 2:
                total, count = total + weights.detach(), count + 1
    return total / count * scale


def deviation(examples: Sequence[Example], signs: int) -> Tensor:
    """The standard deviation (signs,) of each sign over all candidates."""
    first, second = torch.zeros(2, signs, dtype=torch.float64)
    for each in examples:
        value = each.value.double()
        first.index_add_(0, each.sign, value)
        second.index_add_(0, each.sign, value * value)
    candidates = sum(len(each.f1) for each in examples)
    variance = second / candidates - (first / candidates) ** 2
    return variance.clamp(min=0).sqrt().float()


def shuffled(examples: Sequence[Example], epoch: int) -> Iterator[list[Example]]:
    order = random.Random(epoch).sample(range(len(examples)), len(examples))
    for first in range(0, len(order), BATCH):
        yield [examples[n] for n in order[first : first + BATCH]]


def cost(each: Example, weights: Tensor) -> Tensor:
    scores = each.scores(weights)
    right = each.f1 / each.f1.sum().clamp(min=1e-6)
    expected = (scores.softmax(0) * each.f1).sum()
    return -expected - PULL * (scores.log_softmax(0) * right).sum()


def rounded(weights: Tensor, signs: Sequence[str]) -> Mapping[str, float]:
    """What is written: two digits, without what weighs nothing."""
    values = ((sign, round(float(weight), 2)) for sign, weight in zip(signs, weights, strict=True))
    return {sign: value for sign, value in values if value}


def report(
    language: Language,
    signs: Sequence[str],
    weights: Mapping[str, float],
    sets: Mapping[str, Sequence[Example]],
) -> None:
    for name, examples in sets.items():
        new, old = (mean_f1(examples, signs, each) for each in (weights, WEIGHTS[language]))
        best = sum(float(each.f1.max()) for each in examples) / max(1, len(examples))
        print(
            f"{NAMES[language]}, {name}: {len(examples)} questions, F1 {new:.4f} "
            f"(weights in the package {old:.4f}, best candidates {best:.4f})"
        )


def mean_f1(
    examples: Sequence[Example], signs: Sequence[str], weights: Mapping[str, float]
) -> float:
    """The mean F1 of the best-scoring candidates."""
    given = torch.tensor([weights.get(sign, 0.0) for sign in signs])
    found = [float(each.f1[each.scores(given).argmax()]) for each in examples]
    return sum(found) / max(1, len(found))


def module(fitted: Mapping[Language, Mapping[str, float]], used: Mapping[Language, int]) -> str:
    """The text of span_weights.py."""
    lines = [HEADER.format(**{each: f"{count:,}" for each, count in used.items()})]
    for language, weights in fitted.items():
        lines.append(f'    "{language}": {{')
        ordered = sorted(weights, key=lambda sign: (": " in sign, sign))
        lines += [f'        "{sign}": {weights[sign]},' for sign in ordered]
        lines.append("    },")
    return "\n".join([*lines, "}\n"])


HEADER = '''"""The weights of the signs in `spans`, fitted on training questions. Knows no text.

Written by training/fit_spans.py: gradient descent on the expected F1 of a softmax over all
candidate spans of {zh} Chinese and {en} English answerable questions about encyclopedia, court and
medical texts.
"""

from __future__ import annotations

from collections.abc import Mapping

from rwkv_rag.types import Language

WEIGHTS: Mapping[Language, Mapping[str, float]] = {{'''


if __name__ == "__main__":
    main()
