"""Print answers of a model folder that nobody chose, as a table for its card.

usage: python training/examples.py DATA [MODEL] [--count 20]

Questions stand evenly apart in DATA/qa/dev.jsonl.xz; each is asked with its own passage, as
`rwkv-rag eval --mode gold` asks it. "—" is a refusal.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rwkv_rag.encoders.base import Base
from rwkv_rag.encoders.reader import RwkvReader
from rwkv_rag.encoders.weighed import WeighedReader
from rwkv_rag.evaluation.dataset import Row, read
from rwkv_rag.evaluation.metrics import f1
from rwkv_rag.interfaces import Reader
from rwkv_rag.models import BUILTIN_MODEL

REFUSED = "—"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("data", type=Path)
    options.add_argument("model", type=Path, nargs="?", default=BUILTIN_MODEL)
    options.add_argument("--count", type=int, default=20)
    given = options.parse_args()

    base = Base(given.model)
    reader = WeighedReader(lambda: RwkvReader(base), base.manifest.reading)
    rows = read(given.data / "qa/dev.jsonl.xz")
    print("| question | answer | right | F1 |\n|---|---|---|--:|")
    for row in rows[:: len(rows) // given.count][: given.count]:
        print(line(row, answer(reader, row)))


def answer(reader: Reader, row: Row) -> str:
    """What the reader quotes from the row's passage, or that it refuses."""
    (reading,) = reader.read(row.question, [row.passage])
    if reading is None or reading.margin <= 0:
        return REFUSED
    return row.passage[reading.span.start : reading.span.end]


def line(row: Row, answered: str) -> str:
    """A row of the table."""
    right = " / ".join(row.answers) if row.answerable else REFUSED
    score = f1(answered, row.answers, row.lang) if row.answerable else float(answered == REFUSED)
    cells = (row.question, answered, right, f"{score:.2f}")
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
