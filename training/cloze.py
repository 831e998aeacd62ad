"""Questions made from running text: a sentence with a fact or a word taken out asks for it.

Teaches to find the place that a question is about, and what kind of thing it asks for. Knows no
tokens.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import rjieba
from rich.progress import track

A_TEXT = 6  # questions
SHORTEST = 12  # characters of a question
LOST = 0.2  # of the passages have lost the sentence
FACTS = 0.7  # of the questions ask for a fact where the sentence has one

SENTENCE = re.compile(r"[^。！？!?\n]{12,90}(?:[。！？!?]|(?=\n))|[^.!?\n]{30,220}[.!?](?=\s)")
_CHINESE = re.compile("[一-鿿]")
_TIME = re.compile("[年月日时]|(?:1[5-9]|20)[0-9]{2}")
_NUMBER = re.compile(r".*[0-9]|[二三四五六七八九十百千万亿两].")  # 一些, 一种 ask for nothing
_INSIDE = re.compile(r"[a-z0-9,] $|[\u3000-\u9fff]$")
_EDGES = " ，。、；：,.;:!?！？）(（"
_KINDS = {"nr": "person", "ns": "place", "nt": "body", "nz": "name", "eng": "name"}
_KINDS |= {"m": "number", "t": "time"}  # the dictionary's tags

ASKED = {
    "zh": {
        "person": ("谁", "哪位", "什么人"),
        "place": ("哪里", "什么地方", "哪儿"),
        "body": ("哪个机构", "什么单位", "哪家"),
        "name": ("什么", "哪个", "什么名字"),
        "number": ("多少", "几", "多大"),
        "time": ("什么时候", "哪一年", "何时"),
        "word": ("什么", "哪个", "（ ）", "多少"),
    },
    "en": {
        "name": ("who", "what", "which", "where"),
        "number": ("how many", "how much", "what"),
        "time": ("when", "what year", "what date"),
        "word": ("what", "which", "____"),
    },
}


class Example(NamedTuple):
    """A question, a passage, and the answer's characters in it: (-1, -1) where there is none."""

    question: str
    passage: str
    start: int
    end: int
    source: str


class Blank(NamedTuple):
    """Characters of a sentence, and what kind of thing they are: a key of `ASKED`."""

    start: int
    end: int
    kind: str


def cloze_rows(texts: Sequence[str]) -> Iterator[Example]:
    """Of each text some sentences: what is left of one as question, its surroundings as passage."""
    rng = random.Random(1)
    for text in track(texts, "cloze"):
        found = list(SENTENCE.finditer(text))
        for at in rng.sample(range(len(found)), min(A_TEXT, len(found))):
            sentence = found[at]
            words = sentence.group()
            spot = blank(words, rng)
            if spot is None:
                continue
            lang = "zh" if _CHINESE.search(words) else "en"
            mark = rng.choice(ASKED[lang].get(spot.kind, ASKED[lang]["name"]))
            question = shorten(words[: spot.start], words[spot.end :], mark, rng)
            if len(question) < SHORTEST:
                continue
            left = found[max(0, at - rng.randint(0, 3))].start()
            right = found[min(len(found) - 1, at + rng.randint(0, 3))].end()
            if rng.random() < LOST:
                gone = text[left : sentence.start()] + text[sentence.end() : right]
                if len(gone) > 20:
                    yield Example(question, gone, -1, -1, f"cloze-{lang}")
                continue
            offset = sentence.start() - left
            place = offset + spot.start, offset + spot.end
            yield Example(question, text[left:right], *place, f"cloze-{lang}")


def shorten(before: str, after: str, mark: str, rng: random.Random) -> str:
    """A question keeps only a stretch round the blank, sometimes with the blank moved to the end
    or, as English asks, to the beginning.
    """
    kept = len(before) - rng.randint(8, 40), rng.randint(8, 40)
    if mark.isascii():  # English is cut between words, and its words are longer
        kept = before.rfind(" ", 0, max(0, 2 * kept[0] - len(before))) + 1, 2 * kept[1]
        after = f"{after} "
        kept = kept[0], after.find(" ", min(kept[1], len(after) - 1))
    before, after = before[max(0, kept[0]) :], after[: kept[1]]
    if rng.random() < 0.5:
        rest = (before + after).strip(" 。，,.")
        return f"{mark} {rest}?" if mark.isascii() else f"{rest}{mark}？"
    return before + mark + after


def blank(sentence: str, rng: random.Random) -> Blank | None:
    """A fact or some words that stand only once in the sentence."""
    tagged: list[tuple[str, str]] = rjieba.tag(sentence)
    facts = [fact for fact in _facts(tagged) if _usable(sentence, fact)]
    if facts and rng.random() < FACTS:
        return rng.choice(facts)
    return _words([word for word, _ in tagged], sentence, rng)


def _facts(tagged: Sequence[tuple[str, str]]) -> Iterator[Blank]:
    """Names, numbers and times: neighbours of one kind together, in English over the spaces."""
    at = 0
    pieces = []
    for word, tag in tagged:
        kind = _KINDS.get(tag[:2], _KINDS.get(tag, ""))
        before = pieces[-1].kind if pieces else ""
        if tag == "eng" and not word[:1].isupper():
            kind = ""
        if (before, tag) == ("number", "q") or (before, word) == ("name", " "):
            kind = before  # a measure; the space within a name
        pieces.append(Blank(at, at + len(word), kind))
        at += len(word)
    text = "".join(word for word, _ in tagged)
    for kind, group in groupby(pieces, key=lambda piece: piece.kind):
        run = list(group)
        start, end = run[0].start, run[-1].end
        while end > start and text[end - 1] in _EDGES:
            end -= 1
        if end > start and _is_fact(kind, text, start, end):
            time = kind == "number" and _TIME.search(text[start:end])
            yield Blank(start, end, "time" if time else kind)


def _is_fact(kind: str, text: str, start: int, end: int) -> bool:
    if kind == "number":
        return bool(_NUMBER.match(text[start:end]))
    if kind == "name" and text[start].isascii():  # a sentence begins with any word written large
        return bool(_INSIDE.search(text[:start])) and end - start > 1
    return bool(kind)


def _usable(sentence: str, fact: Blank) -> bool:
    words = sentence[fact.start : fact.end]
    return sentence.count(words) == 1 and (len(words) >= 2 or words.isdigit())


def _words(words: Sequence[str], sentence: str, rng: random.Random) -> Blank | None:
    """One to three words, whatever they are."""
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    choices = [
        i
        for i, word in enumerate(words)
        if len(word.strip(" ，。、（）()")) >= 2 and sentence.count(word) == 1
    ]
    if not choices:
        return None
    first = rng.choice(choices)
    last = min(len(words) - 1, first + rng.choice((0, 0, 0, 1, 2)))
    start, end = starts[first], starts[last + 1]
    while end > start and sentence[end - 1] in _EDGES:
        end -= 1
    return Blank(start, end, "word") if end > start else None
