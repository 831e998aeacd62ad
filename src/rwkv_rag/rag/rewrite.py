"""What a follow-up question asks for, read from the turns before it. Searches nothing.

`readings` gives the search queries worth trying, best first; the question as typed is always among
them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rwkv_rag.rag.language import detect
from rwkv_rag.rag.terms import content_runs
from rwkv_rag.types import Answer, Turn

TURNS = 6
"""How many turns of a conversation are remembered."""

_MAX_WORDS = 8
_SHORT_ANSWER = {"zh": 16, "en": 40}  # characters; a longer answer is a quotation, not a referent
_FEW_WORDS = {"zh": 1, "en": 2}

_ANAPHORA = {
    "zh": re.compile(
        r"[它他她牠该該]|其(?!中一|实|實|他|它|次|余|餘)|上述|上面|刚才|剛才|"
        r"[这這那](?:[个個些种種里裡裏是位样樣件次家座条條所项項本]|[时時]候)|[这這那](?=有|要|会|會|能|需)"
    ),
    "en": re.compile(
        r"\b(?:it|its|they|them|their|theirs|he|him|his|she|hers?|this|these|those|that one)\b"
        r"|^(?:and|but|so)\b|\bthat[?.! ]*$|\b(?:is|was|does|did|has) that\b",
        re.IGNORECASE,
    ),
}
_SWAP = {
    "zh": re.compile(
        r"^(?:那么|那麼|那|还有|還有|而|至于|至於|换成|換成)?[,，、 ]*"
        r"(?P<topic>[^,，。?？]{1,12}?)(?:呢|又如何|怎么样|怎麼樣)[?？。 ]*$"
    ),
    "en": re.compile(
        r"^(?:(?:and |so |but )?(?:what|how) about|and)[, ]+(?:the |an? |for )?"
        r"(?P<topic>[\w'-]+(?: [\w'-]+){0,3}?)[?.! ]*$",
        re.IGNORECASE,
    ),
}


def remembered(question: str, answer: Answer) -> Turn:
    """A turn as later questions may point back to it: of a refusal no word is worth knowing."""
    return Turn(question, "" if answer.refused else answer.text)


def readings(question: str, history: Sequence[Turn]) -> tuple[str, ...]:
    """Queries for `question`, the likeliest first.

    A question that points back ("And how tall is it?", "那病假呢？") is read with the words of the
    turns before it. A merely short one is taken as it stands first: it may well be a new topic.
    """
    recent = history[-TURNS:]
    if not recent:
        return (question,)
    swapped = _swapped(question, recent)
    if swapped:
        return swapped, question
    enriched = _enriched(question, recent)
    if enriched == question:
        return (question,)
    if points_back(question):
        return enriched, question
    return (question, enriched) if _is_short(question) else (question,)


def points_back(question: str) -> bool:
    """Whether the question holds a word that only an earlier turn explains."""
    return _ANAPHORA[detect(question)].search(question) is not None


def _is_short(question: str) -> bool:
    return len(content_runs(question)) <= _FEW_WORDS[detect(question)]


def _swapped(question: str, history: Sequence[Turn]) -> str:
    """The last full question with its topic exchanged: 年假有几天？ + 那病假呢？ -> 病假有几天？

    Empty when this is no such question, or when nothing in the earlier one is of the same kind;
    the kind of a thing is what its name ends in (病假 and 年假, "sick leave" and "annual leave").
    """
    language = detect(question)
    match = _SWAP[language].match(question.strip())
    if not match or points_back(match["topic"]):
        return ""
    topic = match["topic"].strip()
    for turn in reversed(history):
        if _SWAP[detect(turn.question)].match(turn.question.strip()):
            continue
        swap = _swap_zh if language == "zh" else _swap_en
        return swap(turn.question, topic) if detect(turn.question) == language else ""
    return ""


def _swap_zh(earlier: str, topic: str) -> str:
    end = earlier.find(topic[-1]) + 1
    start = end - len(topic)
    if start < 0 or end == 0 or earlier[start:end] == topic:
        return ""
    return earlier[:start] + topic + earlier[end:]


def _swap_en(earlier: str, topic: str) -> str:
    words = topic.split()
    pattern = rf"\b(?:[\w'-]+ ){{{len(words) - 1}}}{re.escape(words[-1])}\b"
    found = re.search(pattern, earlier, re.IGNORECASE)
    if not found or found[0].lower() == topic.lower():
        return ""
    return earlier[: found.start()] + topic + earlier[found.end() :]


def _enriched(question: str, history: Sequence[Turn]) -> str:
    known = question.lower()
    words: list[str] = []
    for word in _salient(history):
        if word.lower() not in known and word not in words:
            words.append(word)
    return " ".join([question, *words[:_MAX_WORDS]])


def _salient(history: Sequence[Turn]) -> list[str]:
    """Content words of the turns before, from the last question that stands by itself onwards."""
    texts: list[str] = []
    for turn in reversed(history):
        if len(turn.answer) <= _SHORT_ANSWER[detect(turn.answer)]:
            texts.append(turn.answer)
        texts.append(turn.question)
        if not points_back(turn.question) and not _SWAP[detect(turn.question)].match(turn.question):
            break
    runs = (run for text in reversed(texts) for run in content_runs(text))
    return [run for run in runs if len(run) > 1 and not run[0].isdigit()]
