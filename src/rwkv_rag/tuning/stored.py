"""Prepared rows on the disk: a .bin/.idx pair and beside it NAME.mask, one byte a token.

The mask says which tokens are targets of the loss (1); without one, all are. Knows no text.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rwkv_rag.errors import CorruptData
from rwkv_rag.tuning.binidx import BinIdx
from rwkv_rag.tuning.rows import Scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

_HASHED_AT_ONCE = 1 << 20  # entries


def mask_path(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".mask")


class Rows:
    """Prepared rows, mapped into memory: as many as there are on the disk, read when asked for."""

    def __init__(self, pair: BinIdx, mask: NDArray[np.uint8] | None) -> None:
        self.prefix = pair.prefix
        self.tokens = pair.tokens
        self.sizes = pair.sizes
        self._pair = pair
        self._mask = mask

    @classmethod
    def open(cls, prefix: Path, *, scored: Scored = "answers") -> Rows:
        """Open what `prepare` left. Without a mask, or with `scored` "all", every token counts.

        Raises as `BinIdx.open` does, and CorruptData for a mask of another length.
        """
        pair = BinIdx.open(prefix)
        path = mask_path(prefix)
        if scored == "all" or not path.exists() or not len(pair.tokens):
            return cls(pair, None)
        if path.stat().st_size != len(pair.tokens):
            raise CorruptData(
                "{path} has {st_size:,} bytes for {tokens:,} tokens; make the data again",
                path=path,
                st_size=path.stat().st_size,
                tokens=len(pair.tokens),
            )
        return cls(pair, np.memmap(path, dtype=np.uint8, mode="r"))

    def __len__(self) -> int:
        return len(self._pair)

    def row(self, number: int) -> tuple[Ints, NDArray[np.bool_]]:
        """Token ids (n,) and which of them are targets of the loss (n,); the first never is."""
        ids = self._pair[number].astype(np.int64)
        return ids, self._targets(number)

    def has_target(self, number: int, start: int, end: int) -> bool:
        """Whether the loss has a target among tokens `start:end` of a row, `start` > 0."""
        if self._mask is None:
            return start < end
        first = int(self._pair.pointers[number]) // 2
        return bool(self._mask[first + start : first + end].any())

    def content(self, number: int) -> bytes:
        """What two equal rows have in common."""
        return self._pair[number].tobytes()

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return int(self.sizes.max()) if len(self) else 0

    @cached_property
    def scored(self) -> int:
        """How many targets the loss has in all rows together."""
        if self._mask is None:
            return int(self.sizes.sum(dtype=np.int64)) - int(np.count_nonzero(self.sizes))
        return int(np.count_nonzero(self._mask))

    @cached_property
    def sha256(self) -> str:
        """Names the rows and what is scored in them, in hex; reads everything once."""
        whole = hashlib.sha256()
        for table in (self.sizes, self.tokens, self._mask):
            part = hashlib.sha256()
            if table is not None:
                for start in range(0, len(table), _HASHED_AT_ONCE):
                    part.update(table[start : start + _HASHED_AT_ONCE].tobytes())
            whole.update(part.digest())
        return whole.hexdigest()

    def _targets(self, number: int) -> NDArray[np.bool_]:
        size = int(self.sizes[number])
        if self._mask is None:
            targets = np.ones(size, np.bool_)
        else:
            start = int(self._pair.pointers[number]) // 2
            targets = self._mask[start : start + size].astype(np.bool_)
        targets[:1] = False
        return targets
