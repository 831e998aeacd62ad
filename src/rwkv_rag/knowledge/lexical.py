"""The lexical index: FTS5 over words and character pairs, one table a base. Knows no vector.

A table of its own gives each base its own word statistics. SQLite's porter stemmer serves English.
Chinese comes as rjieba's words, in search mode (long words and the words inside them), and as pairs
of characters besides: they find what was cut differently, such as names and traditional characters.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import rjieba

from rwkv_rag.knowledge.overlap import folded, is_chinese, rescored

# Words in more of the chunks than this are not searched for: they are slow and say little. In a
# small base they cost nothing.
FREQUENT_SHARE, FREQUENT_FLOOR = 0.10, 500
COMPOUND = re.compile(r"[a-z0-9]+(?:[.\-/_][a-z0-9]+)+")
MAX_TERMS = 64  # of one question, the rarest

# Words of questions, not of answers.
QUESTION_WORDS = (
    "什么 谁 哪 哪个 哪些 哪里 哪儿 哪年 哪一 哪种 哪家 哪位 多少 几 几个 多久 多长 多大 多高",
    "怎么 怎么样 怎样 如何 为什么 为何 何 何时 何地 何人 何种 什么样 什么时候 时候 吗 呢 吧 啊",
    "呀 么 嘛 请 请问 问 告诉 一下 介绍 说 关于 叫 叫做 称为 会 要 想 知道 能 能否 可以 可否",
    "是否 是不是 有没有 的 了 是 在 有 和 与 及 或 也 都 就 而 被 把 让 给 对 从 到 向 于 以 为",
    "由 之 其 这 那 这个 那个 这些 那些 个 一个 我 你 您 他 她 它 我们 你们 他们 她们 它们",
    "a an the of in on at to for from by with and or as is are was were be been being do does did",
    "what who whom whose which when where why how many much long can could would should will may",
    "i you he she it we they me my your his her its our their this that these those there has have",
    "had please tell about s t",
)
STOP_WORDS = frozenset(word for line in QUESTION_WORDS for word in line.split())


def words(text: str) -> list[str]:
    """The words of `text`, folded: width and compatibility forms, lower case.

    Only words of the dictionary: guessed ones differ between a question and its answer (质保|期为
    in one and 质保|期有 in the other).
    """
    return [
        word
        for word in rjieba.cut_for_search(folded(text), hmm=False)
        if any(map(str.isalnum, word))
    ]


def pairs(text: str) -> list[str]:
    """All pairs of neighbouring Chinese characters, folded."""
    text = folded(text)
    return [
        text[at : at + 2]
        for at in range(len(text) - 1)
        if is_chinese(text[at]) and is_chinese(text[at + 1])
    ]


def compounds(text: str) -> list[str]:
    """Names and numbers written with points or hyphens (v2.0, rx-7900), folded.

    The index holds only their parts, next to one another: FTS5 finds the whole as a phrase.
    """
    return COMPOUND.findall(folded(text))


def create(db: sqlite3.Connection, base: int) -> None:
    db.execute(
        f"CREATE VIRTUAL TABLE lexical_{base} USING fts5 (words, tokenize = 'porter unicode61')"
    )


def drop(db: sqlite3.Connection, base: int) -> None:
    db.execute(f"DROP TABLE IF EXISTS lexical_{base}")


def add(db: sqlite3.Connection, base: int, chunk: int, text: str) -> None:
    terms = " ".join(words(text) + pairs(text))
    db.execute(f"INSERT INTO lexical_{base} (rowid, words) VALUES (?, ?)", (chunk, terms))


def remove(db: sqlite3.Connection, base: int, chunks: Iterable[int]) -> None:
    db.executemany(f"DELETE FROM lexical_{base} WHERE rowid = ?", [(chunk,) for chunk in chunks])


def indexed(db: sqlite3.Connection, base: int) -> set[int]:
    """The row ids of all chunks in the index."""
    return {i for (i,) in db.execute(f"SELECT rowid FROM lexical_{base}")}


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where the terms of one question occur in a base; valid within one transaction.

    `weights` are the inverse document frequencies of its words, `places` the chunks that hold a
    term (a word or a pair).
    """

    db: sqlite3.Connection
    base: int
    question: str
    weights: dict[str, float]
    places: dict[str, frozenset[int]]

    def ranked(self, limit: int) -> list[tuple[int, float]]:
        """The best chunks by BM25 and literal overlap, best first; a higher score is better."""
        if not self.places:
            return []
        rarest = sorted(self.places, key=lambda term: len(self.places[term]))[:MAX_TERMS]
        rows = self.db.execute(
            f"""SELECT found.rowid, -found.rank, chunks.text FROM (
                    SELECT rowid, rank FROM lexical_{self.base}
                    WHERE lexical_{self.base} MATCH ? ORDER BY rank LIMIT ?) AS found
                JOIN chunks ON chunks.id = found.rowid""",
            (" OR ".join(map(_quoted, rarest)), limit),
        ).fetchall()
        scores = rescored(self.question, [text for *_, text in rows], [row[1] for row in rows])
        ranking = [(int(row[0]), score) for row, score in zip(rows, scores, strict=True)]
        return sorted(ranking, key=lambda item: (-item[1], item[0]))

    def share(self, chunk: int) -> float:
        """Which part of the question's words, by weight, the chunk holds: 0..1."""
        total = sum(self.weights.values())
        held = sum(
            weight
            for word, weight in self.weights.items()
            if chunk in self.places.get(word, frozenset())
        )
        return held / total if total else 0.0


def look_up(db: sqlite3.Connection, base: int, question: str) -> Lookup:
    """Find the question's terms. Very frequent ones are left out as long as others remain."""
    total = db.execute("SELECT count(*) FROM chunks WHERE base = ?", (base,)).fetchone()[0]
    asked_words = _content(words(question) + compounds(question))
    limit = max(FREQUENT_FLOOR, int(FREQUENT_SHARE * total))
    found = {
        term: _places(db, base, term, limit + 1)
        for term in dict.fromkeys(asked_words + _content(pairs(question)))
    }
    kept = {term: where for term, where in found.items() if len(where) <= limit}
    if not any(kept.values()):
        kept = {term: _places(db, base, term, -1) for term in found}
    weights = {
        word: math.log1p((total - len(kept[word]) + 0.5) / (len(kept[word]) + 0.5))
        for word in asked_words
        if word in kept
    }
    return Lookup(
        db, base, question, weights, {term: where for term, where in kept.items() if where}
    )


def _content(terms: list[str]) -> list[str]:
    """The terms that say what is asked about, each once; all of them if none does."""
    terms = list(dict.fromkeys(terms))
    return [term for term in terms if term not in STOP_WORDS] or terms


def _places(db: sqlite3.Connection, base: int, word: str, limit: int) -> frozenset[int]:
    rows = db.execute(
        f"SELECT rowid FROM lexical_{base} WHERE lexical_{base} MATCH ? LIMIT ?",
        (_quoted(word), limit),
    )
    return frozenset(chunk for (chunk,) in rows)


def _quoted(word: str) -> str:
    escaped = word.replace('"', '""')
    return f'"{escaped}"'
