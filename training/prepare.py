"""Turn the data folder into token arrays for training the builtin model.

usage: python training/prepare.py DATA OUT [--vocabulary WORLD.txt] [--vocab-size N] [--text-shards
N]

DATA holds text/*.jsonl.xz, qa/train.jsonl.xz and pairs/train.jsonl.xz (fields: see
training/README.md).
OUT gets vocab.txt (the World vocabulary pruned to the tokens this corpus uses most, all bytes
kept) and four .npz files: lm, reading, cloze, pairs. Token lists are stored flat with offsets.
"""

from __future__ import annotations

import argparse
import json
import lzma
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rjieba
from rich.progress import track

from rwkv_rag.rwkv.tokenizer import Tokenizer, write_vocabulary

Row = dict[str, Any]
SHIPPED = Path(__file__).parents[1] / "src/rwkv_rag/rwkv/rwkv_vocab_v20230424.txt"
HELD_OUT = 50  # one row in so many is kept back to measure on


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("data", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--vocabulary", type=Path, default=SHIPPED)
    options.add_argument("--vocab-size", type=int, default=16384)
    options.add_argument("--text-shards", type=int, default=2, help="shards read per language")
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
    save_reading(tokenizer, (reading_row(q) for q in questions), given.out / "reading.npz")
    save_reading(tokenizer, cloze_rows(texts), given.out / "cloze.npz")
    save_pairs(tokenizer, pairs, given.out / "pairs.npz")


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


def reading_row(row: Row) -> tuple[str, str, int, int]:
    """Question, passage and the answer's characters in it; (-1, -1) where there is none."""
    passage, question = row["passage"], row["question"]
    found = [best_place(question, passage, a) for a in row["answers"][:1] if a in passage]
    found = found or [best_place(question, passage, a) for a in row["answers"] if a in passage]
    if not row["answerable"]:
        return question, passage, -1, -1
    return (question, passage, *found[0]) if found else (question, "", -1, -1)


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


SENTENCE = re.compile(r"[^。！？!?\n]{12,90}(?:[。！？!?]|(?=\n))|[^.!?\n]{30,220}[.!?](?=\s)")
BLANKS = {"zh": ("什么", "哪个", "（ ）", "多少"), "en": ("what", "which", "____")}


def cloze_rows(texts: Sequence[str]) -> Iterator[tuple[str, str, int, int]]:
    """A sentence with a word blanked out as question, its surroundings as passage, the word as
    answer.

    One in five passages lacks the sentence. This teaches to find the place that a question is
    about.
    """
    rng = random.Random(1)
    for text in track(texts, "cloze"):
        found = list(SENTENCE.finditer(text))
        for at in rng.sample(range(len(found)), min(3, len(found))):
            sentence = found[at]
            spot = blank(sentence.group(), rng)
            if spot is None:
                continue
            start, end = spot
            lang = "zh" if re.search("[一-鿿]", sentence.group()) else "en"
            words = sentence.group()
            question = shorten(words[:start], words[end:], rng.choice(BLANKS[lang]), rng)
            left = found[max(0, at - rng.randint(0, 3))].start()
            right = found[min(len(found) - 1, at + rng.randint(0, 3))].end()
            if rng.random() < 0.2:
                gone = text[left : sentence.start()] + text[sentence.end() : right]
                if len(gone) > 20:
                    yield question, gone, -1, -1
                continue
            offset = sentence.start() - left
            yield question, text[left:right], offset + start, offset + end


def shorten(before: str, after: str, mark: str, rng: random.Random) -> str:
    """A question keeps only a stretch round the blank, sometimes with the blank moved to the
    end.
    """
    before, after = before[-rng.randint(8, 40) :], after[: rng.randint(8, 40)]
    if rng.random() < 0.5:
        return (before + after).strip(" 。，,.") + mark + "？"
    return before + mark + after


def blank(sentence: str, rng: random.Random) -> tuple[int, int] | None:
    """Characters of one to three words that stand only once in the sentence."""
    words = [(w, i) for i, w in enumerate(rjieba.cut(sentence))]
    starts = np.cumsum([0] + [len(w) for w, _ in words])
    choices = [i for w, i in words if len(w.strip(" ，。、（）()")) >= 2 and sentence.count(w) == 1]
    if not choices:
        return None
    first = rng.choice(choices)
    last = min(len(words) - 1, first + rng.choice((0, 0, 0, 1, 2)))
    start, end = int(starts[first]), int(starts[last + 1])
    while end > start and sentence[end - 1] in " ，。、；：,.;:!?！？）(（)":
        end -= 1
    return (start, end) if end > start else None


def save_reading(
    tokenizer: Tokenizer, examples: Iterator[tuple[str, str, int, int]], path: Path
) -> None:
    """Answers become the tokens that overlap their characters: indices into the passage's
    tokens.
    """
    flat: dict[str, list[Any]] = {k: [] for k in ("question", "passage", "start", "end")}
    for question, passage, start, end in examples:
        ids = tokenizer.encode(passage)
        if not ids:
            continue
        first = last = -1
        if start >= 0:
            borders = np.cumsum([len(tokenizer.tokens[i]) for i in ids])
            low = len(passage[:start].encode())
            high = low + len(passage[start:end].encode())
            first = int(np.searchsorted(borders, low, side="right"))
            last = int(np.searchsorted(borders, high, side="left"))
        flat["question"].append(tokenizer.encode(question))
        flat["passage"].append(ids)
        flat["start"].append(first)
        flat["end"].append(last)
    np.savez(
        path,
        start=np.array(flat["start"], np.int32),
        end=np.array(flat["end"], np.int32),
        **ragged("question", flat["question"]),
        **ragged("passage", flat["passage"]),
    )
    print(f"{path.name}: {len(flat['start'])} rows, {sum(map(len, flat['passage']))} tokens")


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


def ragged(name: str, lists: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    offsets = np.cumsum([0] + [len(x) for x in lists])
    flat = np.concatenate([np.asarray(x, np.uint16) for x in lists])
    return {name: flat, f"{name}_offsets": offsets.astype(np.int64)}


if __name__ == "__main__":
    main()
