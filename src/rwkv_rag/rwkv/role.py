"""Roles: one base model reads differently as embedder and as reader.

A role is an initial state, a template and a small head. This module owns the templates: which token
ids a role hands to the base, and where in them the pieces stand. It knows no tensors; the heads run
in `encoders`, and training uses the same templates, so both sides cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rwkv_rag.rwkv.tokenizer import END_OF_TEXT, Tokenizer

RoleName = Literal["generate", "embed", "read"]
QUERY_TOKENS = 48  # a longer question is cut: its first tokens ask
NEWLINE = "\n"


@dataclass(frozen=True, slots=True)
class ReadIds:
    """What the reader reads: end-of-text, question, newline, passage.

    `passage_start` is the index of the passage's first token; index 0 stands for "not answered
    here".
    """

    ids: tuple[int, ...]
    passage_start: int


def embed_ids(text: Sequence[int], limit: int) -> list[int]:
    """A text for the embedder: its first `limit` tokens, then end-of-text."""
    return [*text[:limit], END_OF_TEXT]


def read_ids(question: Sequence[int], newline: int, passage: Sequence[int]) -> ReadIds:
    """A question and a passage for the reader."""
    head = (END_OF_TEXT, *question[:QUERY_TOKENS], newline)
    return ReadIds((*head, *passage), len(head))


def matches(read: ReadIds) -> list[int]:
    """For each position how a passage token meets the question (Chen et al. 2017, exact match).

    0: not at all, or no passage token; 1: the token stands in the question; 2: and so does the pair
    that it forms with the token before it.
    """
    asked = read.ids[1 : read.passage_start - 1]
    tokens, pairs = set(asked), set(pairwise(asked))
    found = [0] * read.passage_start
    for number in range(read.passage_start, len(read.ids)):
        before, token = read.ids[number - 1 : number + 1]
        found.append((token in tokens) + ((before, token) in pairs))
    return found


def newline_id(tokenizer: Tokenizer) -> int:
    """The token of a single line feed (byte b has id b + 1 in every World vocabulary)."""
    return tokenizer.encode(NEWLINE)[0]
