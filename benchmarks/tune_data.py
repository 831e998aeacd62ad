"""Time the way from a .jsonl file to tokens on the disk, and what memory it takes.

usage: python benchmarks/tune_data.py [--megabytes 32] [--json]
Generates rows of each form from the demonstration's documents, in a temporary directory; speed is
megabytes of the .jsonl a second on one core, reading, encoding and writing together. Memory is by
how much the process grew while it prepared the file.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rwkv_rag import models
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.tuning.dataset import prepare

GOAL = 3.0  # megabytes of text a second
DOCUMENTS = models.PACKAGE / "demo" / "documents"


def paragraphs() -> list[str]:
    """Texts in both languages of a few hundred characters."""
    files = ("harbour-street-garden-handbook.txt", "云雀L3空气净化器使用手册.md")
    texts = [(DOCUMENTS / file).read_text(encoding="utf-8").split("\n\n") for file in files]
    return [each.strip() for text in texts for each in text if len(each) > 40]


def forms(texts: list[str]) -> dict[str, Callable[[int], dict[str, Any]]]:
    """A function for each form of a row, from a number to the row."""

    def text(n: int) -> str:
        return texts[n % len(texts)]

    def asked(n: int) -> dict[str, Any]:
        return {"question": f"{n}: {text(n)[:30]}?", "answer": text(n + 1)[:80]}

    return {
        "text": lambda n: {"text": f"User: {n} {text(n)}\n\nAssistant: {text(n + 1)}"},
        "messages": lambda n: {
            "messages": [
                {"role": "user", "content": f"{n} {text(n)}"},
                {"role": "assistant", "content": text(n + 1)},
            ]
        },
        "question": asked,
        "passages": lambda n: {**asked(n), "passages": [text(n + k) for k in range(3)]},
    }


def write(path: Path, make: Callable[[int], dict[str, Any]], megabytes: float) -> int:
    """Rows until the file has its size; its bytes."""
    size = number = 0
    with path.open("w", encoding="utf-8") as file:
        while size < megabytes * 1e6:
            line = json.dumps(make(number), ensure_ascii=False) + "\n"
            file.write(line)
            size, number = size + len(line.encode()), number + 1
    return size


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(megabytes: float) -> dict[str, dict[str, float]]:
    tokenizer = Tokenizer.from_file(models.BUILTIN_MODEL / "vocab.txt")
    tokenizer.encode("warm up: compiles the inner loops")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in forms(paragraphs()).items():
            source = Path(folder) / f"{name}.jsonl"
            size = write(source, make, megabytes)
            before, start = peak_mebibytes(), time.process_time()
            prepared = prepare(source, Path(folder) / name, tokenizer)
            seconds = time.process_time() - start
            figures[name] = {
                "rows": prepared.rows,
                "tokens": prepared.tokens,
                "MB/s": size / 1e6 / seconds,
                "grown MiB": peak_mebibytes() - before,
            }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=32)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.megabytes)
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{'form':<10}{'rows':>10}{'tokens':>12}{'MB/s':>8}  goal {GOAL:g}{'grown MiB':>12}")
    for name, each in figures.items():
        met = "met" if each["MB/s"] >= GOAL else "missed"
        print(
            f"{name:<10}{each['rows']:>10,}{each['tokens']:>12,}{each['MB/s']:>8.1f}"
            f"  {met:<6}{each['grown MiB']:>12.1f}"
        )


if __name__ == "__main__":
    main()
