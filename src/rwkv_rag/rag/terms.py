"""The terms in which overlap is measured: English word stems, Chinese characters and bigrams.

Knows no dictionary: Chinese needs no segmentation this way, and one weight per term (how rare it is
among the candidate sentences) takes the place of a stop list where the list is silent.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from rwkv_rag.rag.language import HAN

_TOKEN = re.compile(rf"[{HAN}]+|[A-Za-z]+|\d+(?:[.,]\d+)*")
_HAN_RUN = re.compile(rf"[{HAN}]")

_ZH_FUNCTION = re.compile(
    "为什么|是什么|什么样|什麼樣|什么|什麼|为何|為何|怎么样|怎麼樣|怎么|怎麼|怎样|怎樣|如何|多少|多久|"
    "哪一|哪些|哪裡|哪里|哪个|哪個|哪|谁|誰|几|幾|何时|何時|何地|何处|何處|何人|何|吗|嗎|呢|吧|请问|請問|"
    "是否|可以|应该|應該|能否|以及|还有|還有|那么|那麼|的|了|是|在|有|和|与|與|及|或|被|把|将|將|"
    "这|這|那|其|它|他|她|们|們|为|為|请|請|于|於|对|對|从|從|由|到|会|會|能|要|就|都|而|之|个|個|"
    "一下|告诉|告訴|根据|根據|关于|關於"
)
_EN_WORDS = (
    "a an the of in on at to for from by with about into as is are was were be been being am "
    "do does did done have has had having will would can could shall should may might must "
    "not no and or but if than then so that this these those there here it its he him his she "
    "her they them their we our you your i my me us who whom whose which what when where why "
    "how many much long often old far please tell any some such s t also just only very more "
    "most other each every both all same own up out over"
)
_EN_FUNCTION = frozenset(_EN_WORDS.split())
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""))


def stem(word: str) -> str:
    """A word without its commonest endings, so that "built" stays but "keepers" meets "keeper"."""
    word = word.lower()
    for ending, keep in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: len(word) - len(ending)] + keep
    return word


def terms(text: str) -> list[str]:
    """All terms of `text` in order, without the words that only ask or join."""
    found: list[str] = []
    for run in content_runs(text):
        if not _HAN_RUN.match(run):
            found.append(stem(run))
            continue
        found.extend(run)
        found.extend(run[i : i + 2] for i in range(len(run) - 1))
    return found


def content_runs(text: str) -> list[str]:
    """Words of English and uninterrupted Chinese stretches of `text` that carry its meaning."""
    runs: list[str] = []
    for token in _TOKEN.findall(text):
        if _HAN_RUN.match(token):
            runs.extend(part for part in _ZH_FUNCTION.split(token) if part)
        elif token.lower() not in _EN_FUNCTION:
            runs.append(token)
    return runs


def rarity(texts: Iterable[Iterable[str]]) -> Mapping[str, float]:
    """Weight of every term by how few of `texts` (each a collection of terms) hold it."""
    counts: Counter[str] = Counter()
    total = 0
    for text in texts:
        counts.update(set(text))
        total += 1
    return {term: math.log1p((total - n + 0.5) / (n + 0.5)) for term, n in counts.items()}
