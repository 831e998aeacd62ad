"""Training rows from a knowledge base: questions, the passages that answer them, and refusals.

Every answer is a sentence of a document as it stands. A question is kept only when searching the
base for it brings a chunk with that sentence first; the other chunks the search finds are the
distractors. Refusals are the same questions with passages that hold no answer. Knows the Protocols,
and no store, model or file.

A row: {"question", "answer", "passages": [{"text", "document", "start", "end"}], "kind": "answer" |
"refusal", "source": {"document", "start", "end"}}; `source` is where the sentence stands.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, Protocol

from rwkv_rag.errors import InputError
from rwkv_rag.interfaces import Generator, Knowledge
from rwkv_rag.knowledge.headings import SEPARATOR, sections
from rwkv_rag.rag import prompt
from rwkv_rag.rag.answering import REFUSAL
from rwkv_rag.rag.language import detect
from rwkv_rag.rag.sentences import sentences
from rwkv_rag.rag.terms import terms
from rwkv_rag.tuning import questions
from rwkv_rag.types import Chunk, Language, Sampling

Row = dict[str, Any]

SEARCHED = 10  # hits looked at for distractors
_ALIKE = 0.6  # share of the answer's terms from which another sentence may answer too
_LENGTH = {"zh": (8, 160), "en": (25, 300)}  # characters of a sentence that makes an answer
_PER_ROUND = 3  # questions tried of a document before the next document has its turn
_BULLET = re.compile(r"^(?:[-*+•·]\s+|\d{1,2}[.)]\s+|#{1,6}\s|>\s*)")


_PARTIAL = re.compile(r"\||下列|如下|[：:]\s*\n|\bthe following\b")  # the list is not in it
_ITSELF = re.compile("本(法|条例|规定|办法|章程|制度|合同|手册|指南)")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence that may be an answer; `text` is `document[start:end]`, `heading` the path above.

    `weak` questions come last: they ask for what is said below a heading.
    """

    document: str
    start: int
    end: int
    text: str
    heading: str
    question: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class RowEvent:
    """Progress: `row` when one was made. `tried` and `total` count sentences, `rows` what was made
    so far, `dropped` the questions that their own chunk was not the first answer to."""

    tried: int
    total: int
    rows: int
    dropped: int
    written_by: Literal["model", "rules"]
    row: Row | None = None


class Writer(Protocol):
    """Writes the question that a sentence answers."""

    @property
    def name(self) -> Literal["model", "rules"]:
        """Who writes."""

    def question(self, candidate: Candidate) -> str:
        """The question, "" if there is none."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Questions by pattern, for models that do not write."""

    name: Literal["model", "rules"] = "rules"

    def question(self, candidate: Candidate) -> str:
        return candidate.question


ASK: dict[Language, str] = {
    "zh": (
        "{passage}\n\nUser: 上面有这样一句话：{sentence}\n请写一个由这句话回答的问题。"
        "问题要写明对象，不看资料也能懂；不要写出答案；只写一个问题。\n\nAssistant:"
    ),
    "en": (
        "{passage}\n\nUser: The text above holds this sentence: {sentence}\nWrite one question "
        "that this sentence answers. Name what it is about, so that it is understood without the "
        "text; do not give the answer away; write the question only.\n\nAssistant:"
    ),
}


@dataclass(frozen=True, slots=True)
class Model:
    """Questions by a language model, from the sentence and the heading above it."""

    generator: Generator
    seed: int
    name: Literal["model", "rules"] = "model"

    def question(self, candidate: Candidate) -> str:
        language = detect(candidate.text)
        passage = prompt.clean(f"{candidate.heading}\n{candidate.text}".strip())
        asked = prompt.fill(
            ASK[language], {"passage": passage, "sentence": prompt.clean(candidate.text)}
        )
        written = self.generator.generate(
            asked,
            sampling=Sampling(temperature=0.5, top_p=0.5, seed=self.seed ^ candidate.start),
            max_tokens=80,
            stop=prompt.STOP,
        )
        return _asked("".join(delta.text for delta in written), candidate.text, language)


def build(
    knowledge: Knowledge,
    name: str,
    *,
    rows: int = 200,
    refusals: float = 0.2,
    passages: int = 3,
    seed: int = 0,
    generator: Generator | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[RowEvent]:
    """Make up to `rows` rows, lazily; the same base, seed and model make the same rows.

    `refusals` is their share, `passages` how many a row has at most. Without a `generator` that
    writes well, questions are made by rule. Raises InputError where nothing can be made, NotFound
    for an unknown base.
    """
    if rows < 1 or not 0 <= refusals < 1 or not 1 <= passages <= SEARCHED:
        raise InputError(
            "{rows} rows with a share of {refusals} refusals and {passages} passages "
            "cannot be made; give from 1, from 0 to below 1, and from 1 to {searched}",
            rows=rows,
            refusals=refusals,
            passages=passages,
            searched=SEARCHED,
        )
    knowledge.base(name)
    writer = Model(generator, seed) if generator else Rules()
    return _Builder(knowledge, name, writer, rows, refusals, passages, seed).run(cancelled)


class _Builder:
    """One run: what was made so far, and what is wanted."""

    def __init__(
        self,
        knowledge: Knowledge,
        name: str,
        writer: Writer,
        rows: int,
        refusals: float,
        passages: int,
        seed: int,
    ) -> None:
        self._knowledge, self._name, self._writer = knowledge, name, writer
        self._wanted, self._share, self._passages, self._seed = rows, refusals, passages, seed
        self._asked: set[str] = set()
        self._made = self._refused = self._dropped = 0

    def run(self, cancelled: Callable[[], bool]) -> Iterator[RowEvent]:
        """Sentences in turn, until there are enough rows or no sentence is left."""
        todo = self._candidates(cancelled)
        tried = 0
        for tried, candidate in enumerate(todo, 1):
            if cancelled() or self._made >= self._wanted:
                break
            made = self._rows(candidate)
            for row in made[: self._wanted - self._made]:
                self._made += 1
                self._refused += row["kind"] == "refusal"
                yield self._event(tried, len(todo), row)
            if not made:
                yield self._event(tried, len(todo), None)
        if not self._made and not cancelled():
            raise InputError(
                "nothing in the knowledge base {name!r} makes a question ({tried} sentences "
                "tried); index documents with whole sentences, or write the rows yourself",
                name=self._name,
                tried=tried,
            )

    def _event(self, tried: int, total: int, row: Row | None) -> RowEvent:
        return RowEvent(tried, total, self._made, self._dropped, self._writer.name, row)

    def _candidates(self, cancelled: Callable[[], bool]) -> list[Candidate]:
        """Sentences worth asking about; documents take turns, the best sentences first."""
        piles = []
        for info in self._knowledge.documents(self._name):
            if cancelled():
                return []
            text = self._knowledge.document(self._name, info.name).text
            by_rule = self._writer.name == "rules"
            found = candidates(info.name, text, by_rule=by_rule)
            self._random(info.name).shuffle(found)
            found.sort(key=lambda each: each.weak)
            piles.append(found[: 8 * self._wanted])
        self._random("").shuffle(piles)
        rounds = max((len(pile) for pile in piles), default=0)
        return [
            each
            for start in range(0, rounds, _PER_ROUND)
            for pile in piles
            for each in pile[start : start + _PER_ROUND]
        ]

    def _random(self, text: str) -> random.Random:
        """Chance that depends on the seed and the text alone, not on what came before."""
        digest = hashlib.blake2b(f"{self._seed}\0{text}".encode("utf-8", "replace"), digest_size=8)
        return random.Random(digest.digest())

    def _rows(self, candidate: Candidate) -> list[Row]:
        """The rows a sentence makes: an answer, and a refusal where those fall short."""
        question = self._writer.question(candidate)
        if not question or question in self._asked:
            return []
        hits = self._knowledge.search(self._name, question, top_k=SEARCHED)
        if not hits or not _holds(hits[0].chunk, candidate):
            self._dropped += 1
            return []
        self._asked.add(question)
        own = hits[0].chunk
        others = [hit.chunk for hit in hits[1:] if not _answers(hit.chunk, candidate)]
        chance = self._random(question)
        rows = [_answered(question, candidate, own, others[: self._passages - 1], chance)]
        if others and self._refused < self._share * (self._made + 2) - 0.5:
            rows.append(_refused(question, candidate, others[: self._passages], chance))
        return rows


def candidates(document: str, text: str, *, by_rule: bool) -> list[Candidate]:
    """The sentences of a document that say something that can be asked for."""
    found: list[Candidate] = []
    for start, end, heading, first in _placed(text):
        sentence = text[start:end]
        if not _can_answer(sentence):
            continue
        asked = _named(questions.question(sentence), document)
        weak = not asked
        if weak and first:
            asked = questions.of_heading(heading, sentence)
        if asked or not by_rule:
            found.append(Candidate(document, start, end, sentence, heading, asked, weak))
    return found


def _named(question: str, document: str) -> str:
    """The question with the document's name for "this law": outside of it, there are many laws."""
    stem = PurePath(document).stem

    def name(match: re.Match[str]) -> str:
        return f"《{stem}》" if stem.endswith(match[1]) else match[0]

    return _ITSELF.sub(name, question)


def _placed(text: str) -> Iterator[tuple[int, int, str, bool]]:
    """Start and end of every sentence without its bullet, the headings above, and whether it is the
    first below them. Headings themselves are left out."""
    places = sections(text)
    at, line_end, first = -1, -1, True
    for start, end in sentences(text):
        while at + 1 < len(places) and places[at + 1].start <= start:
            at, first = at + 1, True
            line_end = text.find("\n", places[at].start) if places[at].path else -1
        if start < line_end:  # the heading's own line
            continue
        bullet = _BULLET.match(text[start:end])
        yield start + (bullet.end() if bullet else 0), end, SEPARATOR.join(places[at].path), first
        first = False


def _can_answer(sentence: str) -> bool:
    """Whether this is a whole sentence, and neither a row of a table nor the head of a list."""
    shortest, longest = _LENGTH[detect(sentence)]
    ended = sentence.rstrip('"”’』」)）').endswith(("。", "！", "；", ".", "!"))
    return shortest <= len(sentence) <= longest and ended and not _PARTIAL.search(sentence)


def _holds(chunk: Chunk, candidate: Candidate) -> bool:
    """Whether the whole sentence stands in the chunk."""
    same = chunk.document == candidate.document
    if not same or not chunk.start <= candidate.start < candidate.end <= chunk.end:
        return False
    offset = candidate.start - chunk.start
    return chunk.text[offset : offset + len(candidate.text)] == candidate.text


def _answers(chunk: Chunk, candidate: Candidate) -> bool:
    """Whether a chunk may answer too: it shares characters with the sentence, or says the like."""
    if chunk.document == candidate.document and not (
        chunk.end <= candidate.start or candidate.end <= chunk.start
    ):
        return True
    wanted = set(terms(candidate.text))
    said = (set(terms(chunk.text[start:end])) for start, end in sentences(chunk.text))
    return any(len(wanted & each) >= _ALIKE * len(wanted) for each in said)


def _answered(
    question: str, candidate: Candidate, own: Chunk, others: list[Chunk], chance: random.Random
) -> Row:
    passages = [own, *others]
    chance.shuffle(passages)
    mark = f"[{passages.index(own) + 1}]"
    gap = "" if detect(candidate.text) == "zh" else " "
    return _row(question, f"{candidate.text}{gap}{mark}", passages, "answer", candidate)


def _refused(
    question: str, candidate: Candidate, others: list[Chunk], chance: random.Random
) -> Row:
    passages = list(others)
    chance.shuffle(passages)
    return _row(question, REFUSAL[detect(question)], passages, "refusal", candidate)


def _row(question: str, answer: str, passages: list[Chunk], kind: str, candidate: Candidate) -> Row:
    return {
        "question": question,
        "answer": answer,
        "passages": [
            {"text": each.text, "document": each.document, "start": each.start, "end": each.end}
            for each in passages
        ],
        "kind": kind,
        "source": {
            "document": candidate.document, "start": candidate.start, "end": candidate.end,
        },
    }  # fmt: skip


def _asked(written: str, sentence: str, language: Language) -> str:
    """The first line a model wrote, if it is a question of its own in the right language."""
    line = re.sub(r"^(?:问题|問題|Question)\s*[:：]\s*", "", written.strip().split("\n")[0]).strip()
    mark = "？" if language == "zh" else "?"
    if not 5 <= len(line) <= 160 or detect(line) != language or line in sentence:
        return ""
    return line if line[-1] in "?？" else line.rstrip("。.") + mark
