"""RWKV's World tokenizer: greedy longest match of byte strings, from a vocabulary file of any size.

Knows bytes and token ids; nothing of models, templates or special words. Written by hand because no
packaged tokenizer takes a vocabulary file in this format with greedy matching over bytes; numba
compiles the two inner loops.

File format (rwkv_vocab_v20230424.txt): one token a line, `id literal length`, where `literal` is a
Python str or bytes literal and `length` its number of bytes. Id 0 is not in the file: it ends a
document.
"""

from __future__ import annotations

import ast
import codecs
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from rwkv_rag.errors import NotFound, UnsupportedModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int32]

END_OF_TEXT = 0
_HASH = 0x9E3779B97F4A7C15  # Fibonacci hashing: 2**64 / golden ratio


class Tokenizer:
    """A vocabulary and its greedy longest-match encoder. `tokens[id]` are a token's bytes."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        """`tokens[0]` must be empty; every single byte must be among the rest."""
        missing = set(range(256)) - {t[0] for t in tokens if len(t) == 1}
        if not tokens or tokens[0] or missing:
            raise UnsupportedModel(
                "the vocabulary lacks {missing} of the 256 single bytes or uses id 0; use a "
                "vocabulary file in RWKV's World format",
                missing=len(missing),
            )
        self.tokens = tuple(tokens)
        self._trie = _build_trie(self.tokens)

    @classmethod
    def from_file(cls, path: str | Path) -> Tokenizer:
        """Read a vocabulary file; ids may leave gaps, which decode to nothing."""
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise NotFound("no vocabulary file at {path}", path=path) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UnsupportedModel(
                "{path} is not a vocabulary file: {reason}", path=path, reason=error
            ) from error
        entries = dict(_parse_line(line, number, path) for number, line in enumerate(lines, 1))
        return cls([entries.get(i, b"") for i in range(max(entries, default=0) + 1)])

    @classmethod
    def for_model(cls, path: Path, *, model: str, rows: int) -> Tokenizer:
        """The vocabulary of a model with `rows` embeddings; UnsupportedModel if it has more."""
        tokenizer = cls.from_file(path)
        if tokenizer.vocab_size > rows:
            raise UnsupportedModel(
                "{model} knows {rows:,} tokens and the vocabulary has {vocab_size:,}; put "
                "the model's own vocabulary beside it as vocab.txt",
                model=model,
                rows=rows,
                vocab_size=tokenizer.vocab_size,
            )
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of ids: 0 .. vocab_size - 1."""
        return len(self.tokens)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; empty for id 0 and for ids outside the vocabulary."""
        return self.tokens[token] if 0 <= token < len(self.tokens) else b""

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`. Lone surrogates, which UTF-8 cannot hold, become "?"."""
        ids: list[int] = self.encode_array(text.encode("utf-8", errors="replace")).tolist()
        return ids

    def encode_array(self, data: bytes) -> Ints:
        """Token ids whose bytes joined are exactly `data`, without making a list: for corpora."""
        out = np.empty(len(data), dtype=np.int32)
        count = _greedy(np.frombuffer(data, dtype=np.uint8), *self._trie, out)
        return out[:count]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.token_bytes(i) for i in ids).decode("utf-8", errors="replace")


class StreamDecoder:
    """Decodes ids one by one, holding back bytes of a character that is not complete yet."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that `token` completes; sometimes none."""
        return self._utf8.decode(self._tokenizer.token_bytes(token))


def write_vocabulary(path: Path, tokens: Sequence[bytes]) -> None:
    """Write `tokens` (index = id, id 0 left out) in the official format."""
    lines = [f"{i} {_literal(token)} {len(token)}" for i, token in enumerate(tokens) if token]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _literal(token: bytes) -> str:
    try:
        return repr(token.decode("utf-8"))
    except UnicodeDecodeError:
        return repr(token)


def _parse_line(line: str, number: int, path: str | Path) -> tuple[int, bytes]:
    first, last = line.find(" "), line.rfind(" ")
    try:
        value = ast.literal_eval(line[first + 1 : last])
        token = value.encode("utf-8") if isinstance(value, str) else bytes(value)
        entry = int(line[:first]), token
        if first == last or len(token) != int(line[last + 1 :]) or entry[0] < 1 or not token:
            raise ValueError("length or id is wrong")
    except (ValueError, SyntaxError, TypeError) as error:
        raise UnsupportedModel(
            "{path}, line {number}: not an entry of a World vocabulary: {line!r}",
            path=path,
            number=number,
            line=line[:60],
        ) from error
    return entry


def _build_trie(tokens: Sequence[bytes]) -> tuple[NDArray[np.int64], Ints, Ints]:
    data = np.frombuffer(b"".join(tokens), dtype=np.uint8)
    lengths = np.array([len(t) for t in tokens], dtype=np.int32)
    slots = 1 << max(10, (2 * len(data)).bit_length())
    keys = np.full(slots, -1, dtype=np.int64)
    children = np.zeros(slots, dtype=np.int32)
    ids = np.full(len(data) + 1, -1, dtype=np.int32)
    _insert_all(data, lengths, keys, children, ids)
    return keys, children, ids


# The trie is one hash table: key = node * 256 + byte -> child node; ids[node] is the token that
# ends there or -1. Linear probing; the table is at most half full.


@njit(cache=True, nogil=True)
def _slot(keys: NDArray[np.int64], key: int) -> int:
    mask = len(keys) - 1
    slot = int((np.uint64(key) * np.uint64(_HASH)) >> np.uint64(32)) & mask
    while keys[slot] != -1 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _insert_all(
    data: NDArray[np.uint8], lengths: Ints, keys: NDArray[np.int64], children: Ints, ids: Ints
) -> None:
    nodes = 1
    start = 0
    for token in range(len(lengths)):
        node = 0
        for i in range(start, start + lengths[token]):
            key = node * 256 + data[i]
            slot = _slot(keys, key)
            if keys[slot] == -1:
                keys[slot] = key
                children[slot] = nodes
                nodes += 1
            node = children[slot]
        start += lengths[token]
        if node:
            ids[node] = token


@njit(cache=True, nogil=True)
def _greedy(
    data: NDArray[np.uint8], keys: NDArray[np.int64], children: Ints, ids: Ints, out: Ints
) -> int:
    count = 0
    start = 0
    while start < len(data):
        node = 0
        end = start
        best = start
        while end < len(data):
            slot = _slot(keys, node * 256 + data[end])
            if keys[slot] == -1:
                break
            node = children[slot]
            end += 1
            if ids[node] >= 0:
                out[count] = ids[node]
                best = end
        count += 1
        start = best
    return count
