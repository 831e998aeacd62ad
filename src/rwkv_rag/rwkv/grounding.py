"""Decoding that can only quote: which tokens keep an answer a verbatim span of one of the sources.

Knows the tokens' bytes and the sources; nothing of models, sampling or stop strings. The usual
structure for this is a suffix automaton, whose states stand for the sets of places where a string
occurs. Here the set itself is kept: for passages it costs no more, and unlike the automaton it
tells where a span begins and ends. So no answer starts or ends within a character, a word or a
number ("200" out of "1,200" is verbatim and wrong), and the offsets of the quote are known.

    TokenTrie    all tokens by their bytes; once per tokenizer
    Passages     the sources as bytes, with the places where an answer may start and end
    Grounding    one answer in progress: which tokens are allowed next, and the span so far
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv.tokenizer import END_OF_TEXT
from rwkv_rag.types import SourceSpan

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SOURCE_CHARACTERS = 1 << 20

_BREAK = 0xFF  # never part of UTF-8: no match crosses it
_LEAD = b" \n"  # one space or line break may come before the answer ("Answer:" + " Paris")
_LINE_ENDS = (b"\n", b"\n\n")  # where they cannot continue the quote, they end it as token 0 does
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# Scripts written without spaces between words: there, every character is a place to start or end.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff"
    "\uff66-\uffdf\U00020000-\U0003ffff"
)
_LETTER = rf"(?:(?![{_UNSPACED}])[\w\u0300-\u036f])"
_WORD = re.compile(rf"{_LETTER}(?:{_LETTER}|(?<=\d)[.,:](?=\d)|['’](?={_LETTER}))*")
# Marks, joiners, variation selectors and skin tones belong to the character before them.
_GLUED = re.compile(
    "(?=[\u0300-\u036f\u20d0-\u20ff\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff])|(?<=\u200d)(?=[^\\s\udcff])"
)


class TokenTrie:
    """All tokens in one tree of bytes, numbered breadth first so that siblings are neighbours.

    The children of node n are the nodes `first[n]` to `first[n + 1]`; `labels[c]` is the byte that
    leads to node c and `ends[c]` the token whose bytes end there, or -1.
    """

    def __init__(self, token_bytes: Callable[[int], bytes], vocab_size: int) -> None:
        """Tokens are distinct; those without bytes (end of text, gaps) are left out."""
        named = sorted((token, i) for i in range(vocab_size) if (token := token_bytes(i)))
        self.token_bytes = token_bytes
        self.line_ends = frozenset(i for token, i in named if token in _LINE_ENDS)
        labels, first, ends = bytearray(1), array("i"), array("i", [-1])
        level, depth = [(0, len(named))], 0  # sorted tokens that share `depth` bytes are neighbours
        while level:
            below: list[tuple[int, int]] = []
            for low, high in level:
                first.append(len(labels))
                for start, end in _runs(named, low, high, depth):
                    token, i = named[start]
                    labels.append(token[depth])
                    ends.append(i if len(token) == depth + 1 else -1)
                    below.append((start, end))
            level, depth = below, depth + 1
        first.append(len(labels))
        self._labels, self._first, self._ends = bytes(labels), first, ends

    def below(self, byte: int) -> tuple[int, int]:
        """The node of a single byte (-1: there is none) and its token (-1: there is none)."""
        node = self._labels.find(byte, self._first[0], self._first[1])
        return node, self._ends[node]

    def matches(self, data: bytes, place: int, node: int = 0) -> list[int]:
        """Tokens that, read on from `node` (0: the root), are a prefix of `data[place:]`.

        The data ends with the byte 0xFF, which is part of no match.
        """
        labels, first, ends = self._labels, self._first, self._ends
        found = []
        while (byte := data[place]) != _BREAK:
            node = labels.find(byte, first[node], first[node + 1])
            if node < 0:
                break
            if ends[node] >= 0:
                found.append(ends[node])
            place += 1
        return found


def _runs(
    named: list[tuple[bytes, int]], low: int, high: int, depth: int
) -> Iterator[tuple[int, int]]:
    """Runs of sorted tokens low:high with the same byte at `depth`; shorter ones drop out."""
    while low < high and len(named[low][0]) <= depth:
        low += 1
    while low < high:
        byte, start = named[low][0][depth], low
        while low < high and named[low][0][depth] == byte:
            low += 1
        yield start, low


class Passages:
    """The sources of one request as a single byte string, each followed by a byte no token matches.

    `starts` are the byte offsets where an answer may begin, ascending; `ends[b]` says whether one
    may end before byte b. White space that ends a source is left out: no answer could end there.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        """Raises InputError for too much text."""
        if isinstance(sources, str):
            raise InputError("sources must be a list of texts, not one text")
        if sum(map(len, sources)) > MAX_SOURCE_CHARACTERS:
            raise InputError(
                "the sources are longer than {max_source_characters:,}; give fewer of them",
                max_source_characters=MAX_SOURCE_CHARACTERS,
            )
        texts = [_matchable(source) for source in sources]
        self.data = b"".join(text.encode("utf-8", "surrogateescape") for text in texts)
        self.starts: list[int] = []
        self.ends = bytearray(len(self.data) + 1)
        self._bases: list[int] = []
        place = 0
        for text in texts:
            self._bases.append(place)
            place = self._mark(text, place)

    def _mark(self, text: str, place: int) -> int:
        """Note where answers may start and end in a source that begins at byte `place`.

        Returns where the source ends.
        """
        within = _within(text)
        for i, character in enumerate(text):
            width = len(character.encode("utf-8", "surrogateescape"))
            if not (character.isspace() or character == "\udcff"):
                if i not in within:
                    self.starts.append(place)
                if i + 1 not in within:
                    self.ends[place + width] = 1
            place += width
        return place

    def span(self, start: int, end: int) -> SourceSpan:
        """Bytes `start:end` as characters of their source."""
        source = bisect_right(self._bases, start) - 1
        base = self._bases[source]
        before = len(self.data[base:start].decode("utf-8", "replace"))
        return SourceSpan(source, before, before + len(self.data[start:end].decode("utf-8")))


def _matchable(source: str) -> str:
    """The source with a break (one for each character) where no answer may reach; ends with one."""
    pieces = _LONE_SURROGATE.split(source)  # which have no UTF-8
    return "".join(p.rstrip() + "\udcff" * (len(p) - len(p.rstrip()) + 1) for p in pieces)


def _within(text: str) -> set[int]:
    """Character offsets inside a word, a number or a composed character."""
    inside = {i for word in _WORD.finditer(text) for i in range(word.start() + 1, word.end())}
    return inside | {mark.start() for mark in _GLUED.finditer(text)}


class Grounding:
    """One answer in progress: a span of `passages`, or exactly `refusal`.

    Of several places with the same text the span names the first: lowest source, lowest offset.
    A text that is both a span and the whole refusal is a refusal.
    """

    def __init__(self, passages: Passages, trie: TokenTrie, *, refusal: str = "") -> None:
        """Raises InputError if there is neither text to quote nor a refusal."""
        self._data, self._passages, self._trie = passages.data, passages, trie
        self._places = passages.starts  # all byte offsets where the answer so far may have got to
        self._matches: dict[int, list[int]] = {}  # place -> tokens that continue from there
        self._begun = False
        self._length = 0  # bytes of the answer so far
        self._characters = 0
        self._quotes: list[tuple[int, int, int]] = []  # (characters, first byte, end byte)
        self._refusal = refusal.strip().encode("utf-8", "replace") + bytes([_BREAK])
        self._refused = 0 if refusal.strip() else -1  # bytes of it so far; -1: it was not chosen
        if not self._places and self._refused < 0:
            raise InputError("the sources hold no text to quote and no refusal is given")

    @property
    def may_refuse(self) -> bool:
        """The answer so far may still become the refusal."""
        return self._refused >= 0

    @property
    def refuses(self) -> bool:
        """The answer is the refusal, or can only become it."""
        return self._refused == len(self._refusal) - 1 or (self.may_refuse and not self._places)

    @property
    def decided(self) -> bool:
        """No choice is left: the answer ends here, or only the rest of the refusal can follow."""
        if not self._places:
            return True
        refusal_goes_on = 0 <= self._refused < len(self._refusal) - 1
        return not refusal_goes_on and not self._continuations()

    @property
    def text(self) -> str:
        """The answer so far, without a character that is not complete yet."""
        end = self._places[0] if self._places else 0
        return self._data[end - self._length : end].decode("utf-8", "ignore")

    def allowed(self) -> NDArray[np.intp]:
        """Ids of the tokens that may come next, ascending."""
        ids = self._continuations()
        if self.may_refuse:
            ids.update(self._trie.matches(self._refusal, self._refused))
        if not self._begun:
            for byte in _LEAD:
                ids.update(self._led(byte))
        if self._can_end():
            ids.add(END_OF_TEXT)
            ids.update(self._trie.line_ends)
        return np.array(sorted(ids), dtype=np.intp)

    def push(self, token: int) -> bool:
        """Add an allowed token; False if it ended the answer. Raises InputError for any other."""
        data = self._trie.token_bytes(token)
        if not self._begun and data[:1] and data[0] in _LEAD:
            data = data[1:]
            if not data:
                self._begun = True
                return True
        places, refused = self._extended(data)
        if not places and refused < 0:
            if self._can_end() and (token == END_OF_TEXT or token in self._trie.line_ends):
                return False
            raise InputError("token {token} does not continue the quote", token=token)
        self._begun, self._places, self._refused = True, places, refused
        self._length += len(data)
        self._note_quotes(data)
        return True

    def settled(self, limit: int) -> str:
        """The longest text of at most `limit` characters that is a whole answer by now."""
        best = self._best(limit)
        return self._data[best[1] : best[2]].decode("utf-8") if best else ""

    def quote(self, limit: int) -> SourceSpan | None:
        """The place of `settled(limit)`, None if it is empty."""
        best = self._best(limit)
        return self._passages.span(best[1], best[2]) if best else None

    def _best(self, limit: int) -> tuple[int, int, int] | None:
        return next((quote for quote in reversed(self._quotes) if quote[0] <= limit), None)

    def _continuations(self) -> set[int]:
        """Tokens with which the answer goes on inside a source."""
        ids: set[int] = set()
        for place in self._places:
            if place not in self._matches:
                self._matches[place] = self._trie.matches(self._data, place)
            ids.update(self._matches[place])
        return ids

    def _led(self, byte: int) -> set[int]:
        """Tokens that begin the answer after a lead byte, and the lead byte alone."""
        node, alone = self._trie.below(byte)
        if node < 0:
            return set()
        ids = {i for place in self._places for i in self._trie.matches(self._data, place, node)}
        if self.may_refuse:
            ids.update(self._trie.matches(self._refusal, 0, node))
        return ids | {alone} if alone >= 0 else ids

    def _extended(self, data: bytes) -> tuple[list[int], int]:
        """Places and progress of the refusal after `data`; nothing and -1 where it does not fit."""
        if not data or _BREAK in data:
            return [], -1
        places = [p + len(data) for p in self._places if self._data.startswith(data, p)]
        refuses = self.may_refuse and self._refusal.startswith(data, self._refused)
        return places, self._refused + len(data) if refuses else -1

    def _can_end(self) -> bool:
        if self._refused == len(self._refusal) - 1:
            return True
        return self._length > 0 and any(self._passages.ends[place] for place in self._places)

    def _note_quotes(self, data: bytes) -> None:
        """Remember each end of a whole answer within the bytes that came last."""
        for back in range(len(data) - 1, -1, -1):
            if data[-1 - back] & 0xC0 != 0x80:
                self._characters += 1
            end = next((p - back for p in self._places if self._passages.ends[p - back]), None)
            if end is not None:
                self._quotes.append((self._characters, end - self._length + back, end))
