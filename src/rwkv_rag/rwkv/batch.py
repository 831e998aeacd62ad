"""Sequences that one model reads on together, each joining and leaving while the others go on.

Their states lie side by side in one block of memory, so joining and leaving copies one sequence's
state and no other. Knows no text and no threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch

from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.x070 import X070

M = TypeVar("M")


class Batch(Generic[M]):
    """`members` in the order of their states. Members are whatever the caller knows them by."""

    def __init__(self, model: X070) -> None:
        self._model = model
        self._room = model.zero_state(1)
        self.members: list[M] = []

    def join(self, member: M, state: State) -> None:
        """Add a sequence whose state (a batch of one) is copied."""
        if len(self.members) == self._room.batch:
            self._room = State.stack([self._room, self._model.zero_state(self._room.batch)])
        self._room.put(len(self.members), state)
        self.members.append(member)

    def leave(self, gone: Callable[[M], bool]) -> None:
        """Take out the members that are `gone`; the last one takes the place of each."""
        for index in reversed(range(len(self.members))):
            if gone(self.members[index]):
                last = self.members.pop()
                if index < len(self.members):
                    self.members[index] = last
                    self._room.put(index, self._room, len(self.members))

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Read one token for each member, in their order; logits (B, V)."""
        return self._model.step(tokens, self._room.first(len(self.members)))
