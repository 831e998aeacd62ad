"""The .bin/.idx pair of RWKV's trainers: token ids and where documents begin. Knows no text.

The format is Megatron's memory-mapped index, as RWKV-LM's `make_data` writes it. NAME.bin holds all
tokens as uint16, little-endian, one document after another, each with its end token 0. NAME.idx:

    9 bytes   MMIDIDX 0 0
    uint64    1, the version
    uint8     8, the code for uint16
    uint64    n, the number of sequences
    uint64    d, the number of entries of the last table
    int32[n]  tokens of each sequence
    int64[n]  where each begins in NAME.bin, in bytes
    int64[d]  with which sequence each document begins, and a last entry n
"""

from __future__ import annotations

import os
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from rwkv_rag.errors import CorruptData, InputError, NotFound

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
UINT16 = 8
LARGEST_ID = 65_535
_HEADER = struct.Struct("<9sQBQQ")
_BLOCK = 1 << 16  # entries of a table written at a time
_DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float32", 7: "float64",
}  # fmt: skip


def bin_path(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".bin")


def idx_path(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".idx")


def prefix_of(path: Path) -> Path:
    """What both files of the pair are called without their endings."""
    return path.with_suffix("") if path.suffix in (".bin", ".idx") else path


class Writer:
    """Writes a pair, document by document; the index comes last, so half a pair has none.

    Used as a context manager; leaving it by an exception leaves nothing behind.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self._sizes = array("i")
        idx_path(prefix).unlink(missing_ok=True)
        self._file = bin_path(prefix).open("wb")

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()
        if error is None:
            self._write_index()
        else:
            bin_path(self._prefix).unlink(missing_ok=True)

    def add(self, ids: NDArray[np.integer]) -> None:
        """Append one document. Raises InputError for ids that two bytes cannot hold."""
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) <= LARGEST_ID:
            raise InputError(
                "token ids must lie between 0 and {largest_id}, not {max}",
                largest_id=LARGEST_ID,
                max=ids.max(),
            )
        self._file.write(np.ascontiguousarray(ids, dtype="<u2").tobytes())
        self._sizes.append(len(ids))

    def _write_index(self) -> None:
        sizes = np.frombuffer(self._sizes, dtype=np.int32) if self._sizes else np.empty(0, np.int32)
        count = len(sizes)
        unfinished = idx_path(self._prefix).with_suffix(".idx.part")
        with unfinished.open("wb") as file:
            file.write(_HEADER.pack(MAGIC, VERSION, UINT16, count, count + 1))
            file.write(sizes.astype("<i4").tobytes())
            position = 0
            for start in range(0, count, _BLOCK):
                ends = position + 2 * np.cumsum(sizes[start : start + _BLOCK], dtype=np.int64)
                file.write(np.concatenate([[position], ends[:-1]]).astype("<i8").tobytes())
                position = int(ends[-1])
            for start in range(0, count + 1, _BLOCK):
                file.write(np.arange(start, min(start + _BLOCK, count + 1), dtype="<i8").tobytes())
        os.replace(unfinished, idx_path(self._prefix))


@dataclass(frozen=True, slots=True, eq=False)
class BinIdx:
    """A pair, memory-mapped. `sizes` (n,) int32 tokens, `pointers` (n,) int64 bytes."""

    prefix: Path
    tokens: NDArray[np.uint16]
    sizes: NDArray[np.int32]
    pointers: NDArray[np.int64]
    documents: int

    @classmethod
    def open(cls, prefix: Path) -> BinIdx:
        """Open a pair. Raises NotFound where a file is missing, CorruptData where one is damaged,
        InputError where the format is another's."""
        data, index = bin_path(prefix), idx_path(prefix)
        for path, other in ((data, index), (index, data)):
            if not path.is_file():
                raise NotFound(
                    "{path} is missing; {other} needs it: copy both, or make them again",
                    path=path,
                    other=other.name,
                )
        tokens = _tokens(data)
        sizes, pointers, documents = _tables(index)
        _check_places(data, tokens, sizes, pointers)
        return cls(prefix, tokens, sizes, pointers, documents)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> NDArray[np.uint16]:
        """The tokens of one sequence; a view of the file."""
        start = int(self.pointers[row]) // 2
        return self.tokens[start : start + int(self.sizes[row])]


def _tokens(path: Path) -> NDArray[np.uint16]:
    size = path.stat().st_size
    if size == 0:
        return np.empty(0, np.uint16)
    if size % 2:
        raise CorruptData(
            "{path} has {size} bytes, an odd number, and tokens take two; make it again",
            path=path,
            size=size,
        )
    mapped: NDArray[np.uint16] = np.memmap(path, dtype="<u2", mode="r")
    return mapped


def _tables(path: Path) -> tuple[NDArray[np.int32], NDArray[np.int64], int]:
    """Sizes, pointers, and the number of documents."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if not head.startswith(MAGIC):
        raise InputError(
            "{path} begins with {head}, not as an index of tokens; give the .bin of a "
            "pair that RWKV-LM's make_data or `rwkv-rag tune data` wrote",
            path=path,
            head=head[:9],
        )
    size = path.stat().st_size
    if len(head) < _HEADER.size:
        raise CorruptData(
            "{path} is cut short at {size} bytes; make it again", path=path, size=size
        )
    _, version, code, count, entries = _HEADER.unpack(head)
    if version != VERSION or code != UINT16:
        found = _DTYPES.get(code, "unknown") if code != UINT16 else "uint16"
        raise InputError(
            "{path} is of version {version} with {found} tokens; only version 1 with "
            "uint16 tokens can be read",
            path=path,
            version=version,
            found=found,
        )
    wanted = _HEADER.size + 12 * count + 8 * entries
    if size != wanted:
        raise CorruptData(
            "{path} has {size} bytes and should have {wanted}; make it again",
            path=path,
            size=size,
            wanted=wanted,
        )
    if count == 0:
        return np.empty(0, np.int32), np.empty(0, np.int64), 0
    table = np.memmap(path, dtype=np.uint8, mode="r")
    sizes = table[_HEADER.size : _HEADER.size + 4 * count].view("<i4")
    pointers = table[_HEADER.size + 4 * count : _HEADER.size + 12 * count].view("<i8")
    return sizes, pointers, max(entries - 1, 0)


def _check_places(
    path: Path, tokens: NDArray[np.uint16], sizes: NDArray[np.int32], pointers: NDArray[np.int64]
) -> None:
    """Raise CorruptData where the index points outside the data."""
    for start in range(0, len(sizes), _BLOCK):
        size, place = sizes[start : start + _BLOCK], pointers[start : start + _BLOCK]
        wrong = (size < 0) | (place < 0) | (place % 2 != 0) | (place + 2 * size > 2 * len(tokens))
        if wrong.any():
            row = start + int(np.argmax(wrong))
            raise CorruptData(
                "{path} has {tokens:,} tokens and its index places document {row} outside; "
                "the file is cut short or belongs to another index: make both again",
                path=path,
                tokens=len(tokens),
                row=row,
            )


def magic_prime(tokens: int, context: int) -> int | None:
    """What RWKV-LM's trainer takes as --magic_prime: the largest prime 3n + 2 below
    tokens / context - 1. None where there are too few tokens for one."""
    largest = -(-tokens // context) - 2  # the largest whole number below tokens / context - 1
    for number in range(largest, 1, -1):
        if number % 3 == 2 and _is_prime(number):
            return number
    return None


def _is_prime(number: int) -> bool:
    if number < 4:
        return number > 1
    if number % 2 == 0:
        return False
    return all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))
