"""Which stretch of a sentence answers a question: a linear score over countable signs.

Knows no model. A candidate runs from one cut point of a sentence to a later one; cut points are
clause borders, brackets, numbers, and the small words beside which answers begin and end. The signs
(is the question's wording near? is a number asked for, and is there one?) are weighed by fitted
`span_weights`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from rwkv_rag.rag.asked import LOOKS, asked_for
from rwkv_rag.rag.language import HAN, detect
from rwkv_rag.rag.places import ENOUGH, places, share, weights
from rwkv_rag.rag.sentences import Span, clauses
from rwkv_rag.rag.span_weights import WEIGHTS
from rwkv_rag.rag.terms import stem
from rwkv_rag.types import Language, Reading, SourceSpan

Signs = Mapping[str, float]

SENTENCES = 3  # of a passage, the likeliest, in which spans are looked for
_MAX_LENGTH = {"zh": 60, "en": 120}  # characters of a candidate that is not made of whole clauses
_NEAR = {"zh": 10, "en": 40}
_PUNCTUATION = "，。！？；：、,.;:!?—… \n\t"

_BRACKET = re.compile(r"[、「」『』“”《》（）()\"/～~]+")
_SMALL = {
    "zh": re.compile(  # not where the character begins another word
        r"[是為为於于在至到從从與与及被的稱称叫位約约共達达]|由(?![于於])|有(?![限关關效权權])|和(?![平谐諧])|"
        r"或(?!者)|[將将](?![军軍士领領来來])|了(?!解)|以(?![及后後前上下外内內])|因(?![此而素])"
    ),
    "en": re.compile(
        r"\b(?:in|on|at|by|for|from|to|of|with|as|and|or|who|which|that|when|because|is|was|were|"
        r"are|has|had|an?|the)\b"
    ),
}
_NUMBER = re.compile(r"\d[\d,.]*(?:[年月日%％]|[十百千万萬亿億]+)*")
_MEASURE = re.compile(
    r" ?(?:[个個]?(?:小时|小時|星期|月)|[个個](?![小星月])|(?:平方|立方)?(?:公里|[千厘毫]?米)|"
    r"分(?:贝|貝|钟|鐘)|[千公]?[克斤]|[美欧歐日]?元|[天人岁歲次秒吨噸度])"
)
_UNIT = re.compile(r"[ -][A-Za-z]+")
_WORDS = re.compile(r"[A-Za-z]+|\d+(?:[.,]\d+)*")

_ASKED = re.compile(
    "为什么|為什麼|什么|什麼|哪|谁|誰|多少|[几幾]|何|怎|如何|多[大高长長久远遠]|"
    r"\b(?:who|whom|whose|what|when|where|which|why|how)\b",
    re.IGNORECASE,
)
_CUE = re.compile("(?:哪一?|[几幾]|多少|何)(?:[个個种種位座条條])?(\\w)")


class Sentence(NamedTuple):
    """A sentence to look in: its span, its share of the question, and its rank by that share."""

    span: Span
    coverage: float
    rank: int


class SpanReader:
    """A Reader without a model: the best-scoring span of the sentences that share most.

    It looks at the `sentences` likeliest ones. The margin is how far the best one's share of the
    question lies above `ENOUGH`.
    """

    def __init__(self, sentences: int = SENTENCES) -> None:
        self._sentences = sentences

    def read(self, question: str, passages: Sequence[str]) -> list[Reading | None]:
        return [self._read(question, n, passage) for n, passage in enumerate(passages)]

    def _read(self, question: str, number: int, passage: str) -> Reading | None:
        proposed = proposals(question, passage, self._sentences)
        if not proposed.spans:
            return None
        _, span = max(proposed.spans)
        return Reading(SourceSpan(number, *span), proposed.margin)


class Proposals(NamedTuple):
    """Spans of one passage with their scores; `margin` > 0 says that the answer may be there."""

    spans: list[tuple[float, Span]]
    margin: float


def proposals(question: str, passage: str, sentences: int = SENTENCES) -> Proposals:
    """All candidates of the likeliest `sentences` sentences, scored."""
    prepared, likely = prepare(question, passage, sentences)
    weights = WEIGHTS[prepared.language]
    spans = [
        (sum(weights.get(sign, 0.0) * value for sign, value in signs.items()), span)
        for sentence in likely
        for span, signs in prepared.signs(passage, sentence)
    ]
    return Proposals(spans, _margin(prepared, likely))


def margin(question: str, passage: str) -> float:
    """That of `proposals`, which need not be made for it."""
    return _margin(*prepare(question, passage, 1))


def _margin(prepared: Question, likely: Sequence[Sentence]) -> float:
    return likely[0].coverage - ENOUGH[prepared.language] if likely else 0.0


def prepare(question: str, passage: str, limit: int) -> tuple[Question, list[Sentence]]:
    """The question weighed by what is rare in the passage, and the `limit` likeliest sentences."""
    found = places([passage])
    wanted = weights(found, question)
    shares = sorted(((share(place, wanted), place) for place in found), key=lambda each: -each[0])
    likely = [Sentence(each.span, part, n) for n, (part, each) in enumerate(shares[:limit])]
    known = frozenset[str]().union(*(place.held for place in found))
    return Question(question, {term: wanted[term] for term in wanted if term in known}), likely


def candidates(text: str, span: Span, language: Language) -> Iterator[tuple[int, int, str, str]]:
    """Every (start, end, kind of start, kind of end) worth scoring within one sentence."""
    starts, ends = _cut_points(text, span, language)
    longest = _MAX_LENGTH[language]
    for start, first in starts.items():
        for end, last in ends.items():
            whole = first == last == "clause"
            if start < end and (whole or end - start <= longest):
                yield start, end, first, last


def _cut_points(text: str, span: Span, language: Language) -> tuple[dict[int, str], dict[int, str]]:
    """Where candidates may start and end, each place with the kind of its strongest reason."""
    starts: dict[int, str] = {}
    ends: dict[int, str] = {}
    for start, end in clauses(text, span):
        starts[start] = "clause"
        ends[_rstrip(text, start, end)] = "clause"
    for match in _BRACKET.finditer(text, *span):
        starts.setdefault(_lstrip(text, match.end(), span[1]), "bracket")
        ends.setdefault(_rstrip(text, span[0], match.start()), "bracket")
    for match in _NUMBER.finditer(text, *span):
        starts.setdefault(match.start(), "number")
        for end in _ends_of_number(text, match.end(), language):
            ends.setdefault(min(end, span[1]), "number")
    for match in _SMALL[language].finditer(text, *span):
        starts.setdefault(_lstrip(text, match.end(), span[1]), "small")
        ends.setdefault(_rstrip(text, span[0], match.start()), "small")
        if language == "en":
            starts.setdefault(match.start(), "article")
    return starts, ends


def _ends_of_number(text: str, end: int, language: Language) -> Iterator[int]:
    """Behind the number, and behind the measure word that may follow it, never inside one."""
    yield end
    if language == "zh":
        unit = _MEASURE.match(text, end)
        yield from (unit.end(),) if unit else (end + 1, end + 2)
    elif (word := _UNIT.match(text, end)) and not _SMALL["en"].fullmatch(word[0][1:]):
        yield word.end()


class Question:
    """A question ready for scoring spans: its terms' weights, what it asks for, its wording."""

    def __init__(self, text: str, weights: Mapping[str, float]) -> None:
        self.language = detect(text)
        self._weights = weights
        self._total = sum(weights.values()) or 1.0
        self._asks = asked_for(text)
        cue = _CUE.search(text)
        self._cue = cue[1] if cue else ""
        self._before, self._after = self._wording(text)

    def _wording(self, text: str) -> tuple[str, str]:
        """What stands right before and after the word that asks: two characters, or one word."""
        match = _ASKED.search(text)
        if not match:
            return "", ""
        if self.language == "zh":
            return text[max(0, match.start() - 2) : match.start()], text[match.end() :][:2]
        after = [word for word in _WORDS.findall(text[match.end() :]) if len(word) > 3]
        return "", after[0].lower() if after else ""

    def signs(self, text: str, sentence: Sentence) -> Iterator[tuple[Span, Signs]]:
        """Every candidate span of a sentence with its signs."""
        start, end = sentence.span
        language: Language = "zh" if re.search(f"[{HAN}]", text[start:end]) else "en"
        mass = self._mass(text[start:end])

        def held(a: int, b: int) -> float:
            """The share of the question between two places of the text."""
            a, b = max(a, start) - start, min(b, end) - start
            return min(mass[b] - mass[a], 1.5) if a < b else 0.0

        pieces = clauses(text, sentence.span)
        for a, b, first, last in candidates(text, sentence.span, language):
            near = _NEAR[language]
            left = max(x for x, _ in pieces if x <= a)
            right = min(y for _, y in pieces if y >= b)
            inside = held(a, b)
            found = self._own_signs(text[a:b], language)
            found |= {
                "coverage": sentence.coverage,
                f"rank {sentence.rank}": 1.0,
                "inside": inside,
                "inside nothing": float(inside == 0),
                "clause": held(left, right),
                "just before": held(a - near, a),
                "just after": held(b, b + near),
                "before": held(start, a),
                "after": held(b, end),
                f"starts at {first}": 1.0,
                f"ends at {last}": 1.0,
                "whole clauses": float(first == last == "clause"),
                "opens sentence": float(a == start),
                "after copula": float(text[a - 1 : a] in ("是", "為", "为", "稱", "称", "叫")),
                "after place word": float(text[a - 1 : a] in ("在", "於", "于")),
                "before of": float(text[b : b + 1] == "的"),
                "wording before": float(
                    self._before != "" and self._before in text[max(start, a - 8) : a]
                ),
                "wording after": float(
                    self._after != "" and self._after in text[b : b + near].lower()
                ),
            }
            yield (a, b), found

    def _mass(self, text: str) -> list[float]:
        """Running sum, by character, of the weight of the question's terms."""
        weights = [0.0] * len(text)
        for match in _WORDS.finditer(text):
            weights[match.start()] += self._weights.get(stem(match[0]), 0.0)
        for place, character in enumerate(text):
            if character > "\u3000":
                weights[place] += self._weights.get(character, 0.0)
                weights[place] += self._weights.get(text[place : place + 2], 0.0)
        return [0.0, *accumulate(weight / self._total for weight in weights)]

    def _own_signs(self, text: str, language: Language) -> dict[str, float]:
        """What a span shows by itself, seen with what is asked for."""
        words = len(text) if language == "zh" else len(text.split())
        length = math.log(words + 0.5)
        asks = self._asks
        found = {
            f"{asks}: length": length,
            f"{asks}: length squared": length * length,
            "one": float(words == 1),
            "shortness": 1.0 / words if words else 1.0,
            "commas": float(text.count("，") + text.count(", ")),
            "unbalanced": float(
                any(text.count(a) != text.count(b) for a, b in ("「」", "（）", "()", "《》", "“”"))
            ),
            "cue at end": float(self._cue != "" and self._cue in text[-2:]),
            "unit at end": float(text[-1:] in "年月日人元个個"),
        }
        for looks, pattern in LOOKS.items():
            if pattern.search(text):
                found[f"{asks}: {looks}"] = 1.0
        if language == "en":
            capitals = [word[:1].isupper() for word in text.split()]
            found[f"{asks}: capital"] = float(bool(capitals) and capitals[0])
            found[f"{asks}: all capitals"] = float(bool(capitals) and all(capitals))
        return found


def _lstrip(text: str, start: int, end: int) -> int:
    while start < end and text[start] in _PUNCTUATION:
        start += 1
    return start


def _rstrip(text: str, start: int, end: int) -> int:
    while end > start and text[end - 1] in _PUNCTUATION:
        end -= 1
    return end
