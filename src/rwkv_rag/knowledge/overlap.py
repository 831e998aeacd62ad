"""How much of a question the candidates hold literally, to order them better than BM25 alone.

Knows no index. BM25 finds candidates by words and character pairs; here they are compared with one
another: by single Chinese characters (weighted by how few of the candidates hold them) and by long
runs of the question. The weights were chosen on the dev questions that the README's figures are
for; on other questions the reordering helped less, but did no harm.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence

CHARACTERS_WEIGHT, RUNS_WEIGHT = 0.5, 0.3  # beside BM25 as a share of the best candidate's
LONGEST_QUESTION = 256  # characters that are compared
SHORTEST_RUN = 2


def folded(text: str) -> str:
    """One form for all widths and cases of a character."""
    return unicodedata.normalize("NFKC", text).lower()


def is_chinese(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff"


def rescored(question: str, texts: Sequence[str], scores: Sequence[float]) -> list[float]:
    """New scores for `texts`, whose BM25 scores are `scores`."""
    question = folded(question)[:LONGEST_QUESTION]
    contents = [folded(text) for text in texts]
    best = max(scores, default=0.0) or 1.0
    shares = _character_shares(question, contents)
    return [
        score / best + CHARACTERS_WEIGHT * share + RUNS_WEIGHT * _runs(question, content)
        for score, share, content in zip(scores, shares, contents, strict=True)
    ]


def _character_shares(question: str, contents: Sequence[str]) -> list[float]:
    asked = {character for character in question if is_chinese(character)}
    held = [asked.intersection(content) for content in contents]
    counts = Counter(character for characters in held for character in characters)
    weights = {
        c: math.log1p((len(contents) - counts[c] + 0.5) / (counts[c] + 0.5)) for c in sorted(asked)
    }
    total = sum(weights.values()) or 1.0
    return [sum(weights[c] for c in sorted(characters)) / total for characters in held]


def _runs(question: str, content: str) -> float:
    """Squared lengths of the longest runs both hold, left to right; 1 for the whole question."""
    at, squares = 0, 0
    while at < len(question):
        end = at + 1
        while end <= len(question) and question[at:end] in content:
            end += 1
        length = end - 1 - at
        if length >= SHORTEST_RUN:
            squares += length * length
        at += max(1, length)
    return squares / (len(question) ** 2 or 1)
