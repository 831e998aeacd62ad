"""The lexical index: FTS5 over rjieba's words, one table a knowledge base. Knows no vector.

A table of its own gives each base its own word statistics. SQLite's porter stemmer serves English;
Chinese comes cut into words, in search mode (long words and the words inside them).
"""

from __future__ import annotations

import math
import sqlite3
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import rjieba

# Words in more of the chunks than this are not searched for: they are slow and say little. In a
# small base they cost nothing.
FREQUENT_SHARE, FREQUENT_FLOOR = 0.10, 500
MAX_WORDS = 64  # of one question, the rarest
MAX_PAIRS = 32

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
    """The words of `text`, folded: width and compatibility forms, lower case."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return [word for word in rjieba.cut_for_search(folded) if any(map(str.isalnum, word))]


def create(db: sqlite3.Connection, base: int) -> None:
    db.execute(
        f"CREATE VIRTUAL TABLE lexical_{base} USING fts5 (words, tokenize = 'porter unicode61')"
    )


def drop(db: sqlite3.Connection, base: int) -> None:
    db.execute(f"DROP TABLE IF EXISTS lexical_{base}")


def add(db: sqlite3.Connection, base: int, chunk: int, text: str) -> None:
    db.execute(
        f"INSERT INTO lexical_{base} (rowid, words) VALUES (?, ?)", (chunk, " ".join(words(text)))
    )


def remove(db: sqlite3.Connection, base: int, chunks: Iterable[int]) -> None:
    db.executemany(f"DELETE FROM lexical_{base} WHERE rowid = ?", [(chunk,) for chunk in chunks])


def indexed(db: sqlite3.Connection, base: int) -> set[int]:
    """The row ids of all chunks in the index."""
    return {i for (i,) in db.execute(f"SELECT rowid FROM lexical_{base}")}


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where the words of one question occur. `weights` are inverse document frequencies."""

    db: sqlite3.Connection
    base: int
    weights: dict[str, float]
    places: dict[str, frozenset[int]]

    def ranked(self, limit: int) -> list[tuple[int, float]]:
        """The best chunks by BM25, best first; a higher score is better."""
        if not self.places:
            return []
        rarest = sorted(self.places, key=lambda word: len(self.places[word]))[:MAX_WORDS]
        rows = self.db.execute(
            f"SELECT rowid, -rank FROM lexical_{self.base}"
            f" WHERE lexical_{self.base} MATCH ? ORDER BY rank LIMIT ?",
            (" OR ".join(map(_quoted, rarest)), limit),
        )
        return [(int(chunk), float(score)) for chunk, score in rows]

    def share(self, chunk: int) -> float:
        """Which part of the question's words, by weight, the chunk contains: 0..1."""
        total = sum(self.weights.values())
        held = sum(self.weights[word] for word, where in self.places.items() if chunk in where)
        return held / total if total else 0.0


def look_up(db: sqlite3.Connection, base: int, question: str) -> Lookup:
    """Find the question's words. Very frequent ones are left out as long as others remain."""
    total = db.execute("SELECT count(*) FROM chunks WHERE base = ?", (base,)).fetchone()[0]
    asked = list(dict.fromkeys(words(question)))
    asked = [word for word in asked if word not in STOP_WORDS] or asked
    limit = max(FREQUENT_FLOOR, int(FREQUENT_SHARE * total))
    places: dict[str, frozenset[int]] = {}
    frequent: list[str] = []
    weights: dict[str, float] = {}
    for word in asked:
        where = _places(db, base, word, limit + 1)
        if len(where) > limit:
            frequent.append(word)
            continue
        weights[word] = math.log1p((total - len(where) + 0.5) / (len(where) + 0.5))
        if where:
            places[word] = where
    if not places and frequent:
        places = {word: _places(db, base, word, -1) for word in frequent}
        weights = dict.fromkeys(frequent, 1.0) | weights
    return Lookup(db, base, weights, places)


def scan(db: sqlite3.Connection, base: int, question: str, limit: int) -> list[tuple[int, float]]:
    """Chunks that share character pairs with the question, with the share of the pairs, best first.

    For questions none of whose words is in the index, such as names that were cut differently.
    Reads every chunk of the base.
    """
    pairs = _pairs(question)
    if not pairs:
        return []
    count = "+".join(["(instr(lower(text), ?) > 0)"] * len(pairs))
    rows = db.execute(
        f"SELECT id, {count} AS shared FROM chunks WHERE base = ? AND shared > 0"
        " ORDER BY shared DESC, id LIMIT ?",
        (*pairs, base, limit),
    )
    return [(int(chunk), shared / len(pairs)) for chunk, shared in rows]


def _pairs(question: str) -> Sequence[str]:
    content = [word for word in words(question) if word not in STOP_WORDS]
    text = "".join(dict.fromkeys(content))
    pairs = dict.fromkeys(text[i : i + 2] for i in range(len(text) - 1))
    return [pair for pair in pairs if not pair.isascii()][:MAX_PAIRS]


def _places(db: sqlite3.Connection, base: int, word: str, limit: int) -> frozenset[int]:
    rows = db.execute(
        f"SELECT rowid FROM lexical_{base} WHERE lexical_{base} MATCH ? LIMIT ?",
        (_quoted(word), limit),
    )
    return frozenset(chunk for (chunk,) in rows)


def _quoted(word: str) -> str:
    escaped = word.replace('"', '""')
    return f'"{escaped}"'
