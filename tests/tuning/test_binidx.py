"""The .bin/.idx pair is RWKV's to the byte, and what is damaged is told in one line."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import CorruptData, InputError, NotFound, RagError
from rwkv_rag.tuning.binidx import BinIdx, Writer, magic_prime, prefix_of

# Three documents, written down by hand from the format's description.
DOCUMENTS = [[1, 2, 0], [65_535, 0], [300, 301, 302, 0]]
BIN = bytes.fromhex("010002000000" "ffff0000" "2c012d012e010000")  # fmt: skip
IDX = (
    b"MMIDIDX\x00\x00"
    + struct.pack("<Q", 1)
    + bytes([8])
    + struct.pack("<QQ", 3, 4)
    + struct.pack("<3i", 3, 2, 4)
    + struct.pack("<3q", 0, 6, 10)
    + struct.pack("<4q", 0, 1, 2, 3)
)


def write(prefix: Path, documents: list[list[int]]) -> None:
    with Writer(prefix) as writer:
        for document in documents:
            writer.add(np.array(document, np.int64))


def golden(folder: Path, *, data: bytes = BIN, index: bytes = IDX) -> Path:
    (folder / "gold.bin").write_bytes(data)
    (folder / "gold.idx").write_bytes(index)
    return folder / "gold"


def test_what_is_written_is_the_format_to_the_byte(tmp_path: Path) -> None:
    write(tmp_path / "rows", DOCUMENTS)
    assert (tmp_path / "rows.bin").read_bytes() == BIN
    assert (tmp_path / "rows.idx").read_bytes() == IDX
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.bin", "rows.idx"]


def test_what_others_wrote_is_read(tmp_path: Path) -> None:
    pair = BinIdx.open(golden(tmp_path))
    assert [pair[n].tolist() for n in range(len(pair))] == DOCUMENTS
    assert (len(pair.tokens), pair.documents) == (9, 3)


@given(st.lists(st.lists(st.integers(0, 65_535), max_size=6), max_size=8))
@settings(max_examples=60, deadline=None)
def test_reading_gives_back_what_was_written(documents: list[list[int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "rows", documents)
        pair = BinIdx.open(Path(folder) / "rows")
        assert [pair[n].tolist() for n in range(len(pair))] == documents


def test_more_documents_than_are_written_at_a_time_keep_their_places(tmp_path: Path) -> None:
    count = (1 << 16) + 3
    with Writer(tmp_path / "rows") as writer:
        for n in range(count):
            writer.add(np.array([n % 60_000, 0][: 1 + n % 2]))
    pair = BinIdx.open(tmp_path / "rows")
    ends = np.cumsum(pair.sizes.astype(np.int64))
    assert pair.pointers.tolist() == [0, *(2 * ends[:-1]).tolist()]
    assert pair[count - 1].tolist() == [(count - 1) % 60_000]


@pytest.mark.parametrize(
    ("data", "index", "kind", "said"),
    [
        (BIN[:-1], IDX, CorruptData, "odd number"),
        (BIN[:-2], IDX, CorruptData, "places document 2 outside"),
        (b"", IDX, CorruptData, "places document 0 outside"),
        (BIN, IDX[:-1], CorruptData, "should have"),
        (BIN, IDX[:20], CorruptData, "cut short"),
        (BIN, b"", InputError, "begins with b''"),
        (BIN, b"TNTIDX\x00\x00" + IDX[8:], InputError, "begins with"),
        (BIN, IDX[:17] + b"\x04" + IDX[18:], InputError, "int32"),
        (BIN, IDX[:9] + b"\x02" + IDX[10:], InputError, "version 2"),
        (BIN, IDX.replace(struct.pack("<3q", 0, 6, 10), struct.pack("<3q", 0, -6, 10)),
         CorruptData, "document 1 outside"),
        (BIN, IDX.replace(struct.pack("<3q", 0, 6, 10), struct.pack("<3q", 0, 5, 10)),
         CorruptData, "document 1 outside"),
    ],
)  # fmt: skip
def test_damage_is_told_in_one_line(
    tmp_path: Path, data: bytes, index: bytes, kind: type[RagError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        BinIdx.open(golden(tmp_path, data=data, index=index))
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", [".bin", ".idx"])
def test_half_a_pair_names_the_other_half(tmp_path: Path, missing: str) -> None:
    prefix = golden(tmp_path)
    prefix.with_suffix(missing).unlink()
    with pytest.raises(NotFound, match=rf"gold\{missing} is missing"):
        BinIdx.open(prefix)


def test_a_name_with_dots_keeps_them(tmp_path: Path) -> None:
    write(tmp_path / "v1.2", DOCUMENTS)
    assert (tmp_path / "v1.2.idx").exists()
    assert prefix_of(tmp_path / "v1.2.bin") == tmp_path / "v1.2"


def test_ids_over_two_bytes_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="65536"):
        write(tmp_path / "rows", [[1, 65_536]])
    assert list(tmp_path.iterdir()) == []


def test_an_old_index_does_not_outlive_a_writing_that_failed(tmp_path: Path) -> None:
    write(tmp_path / "rows", DOCUMENTS)
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path / "rows"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def slow_magic_prime(tokens: int, context: int) -> int | None:
    def is_prime(n: int) -> bool:
        return n > 1 and all(n % d for d in range(2, n))

    fitting = (n for n in range(2, tokens) if n < tokens / context - 1)
    return max((n for n in fitting if n % 3 == 2 and is_prime(n)), default=None)


@given(st.integers(0, 3000), st.integers(2, 40))
def test_the_magic_prime_is_the_largest_of_its_kind(tokens: int, context: int) -> None:
    assert magic_prime(tokens, context) == slow_magic_prime(tokens, context)


def test_the_magic_prime_of_the_example_in_rwkv_lm() -> None:
    """1,498,226,207 tokens of minipile at context 512, as its README works it out."""
    assert magic_prime(1_498_226_207, 512) == 2_926_181
