"""The figures of an evaluation: exact match, F1, hit@k, reciprocal rank. Knows only texts."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from rwkv_rag.types import Language

_ZH_TOKEN = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?|[^\s]")
_EN_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_EN_PUNCTUATION = str.maketrans("", "", string.punctuation)


def tokens(text: str, language: Language) -> list[str]:
    """What F1 counts: Chinese characters (Latin words and numbers whole), English words."""
    return _zh_tokens(text) if language == "zh" else normalise_english(text).split()


def normalise_english(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces."""
    text = text.lower().translate(_EN_PUNCTUATION)
    return " ".join(_EN_ARTICLES.sub(" ", text).split())


def exact_match(answer: str, truths: Sequence[str], language: Language) -> float:
    """1.0 when the answer equals one of `truths` after normalisation, else 0.0."""
    return _best(answer, truths, lambda a, b: float(tokens(a, language) == tokens(b, language)))


def f1(answer: str, truths: Sequence[str], language: Language) -> float:
    """The best harmonic mean of token precision and recall over `truths`."""
    return _best(answer, truths, lambda a, b: _overlap(tokens(a, language), tokens(b, language)))


def hit_at(ranks: Iterable[int | None], k: int) -> float:
    """The share of questions whose right passage is ranked `k` or better; ranks count from 1."""
    return mean(float(rank is not None and rank <= k) for rank in ranks)


def mrr_at(ranks: Iterable[int | None], k: int) -> float:
    """The mean of 1/rank, 0 where the right passage is not among the first `k`."""
    return mean(1.0 / rank if rank is not None and rank <= k else 0.0 for rank in ranks)


def mean(values: Iterable[float]) -> float:
    """The mean, 0.0 of nothing."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0


def _zh_tokens(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", text).lower()
    return [token for token in _ZH_TOKEN.findall(text) if _counts(token[0])]


def _counts(character: str) -> bool:
    return unicodedata.category(character)[0] not in "PSZC"


def _overlap(answer: Sequence[str], truth: Sequence[str]) -> float:
    common = sum((Counter(answer) & Counter(truth)).values())
    if common == 0:
        return float(len(answer) == len(truth) == 0)
    precision, recall = common / len(answer), common / len(truth)
    return 2 * precision * recall / (precision + recall)


def _best(answer: str, truths: Sequence[str], score: Callable[[str, str], float]) -> float:
    return max((score(answer, truth) for truth in truths), default=0.0)
