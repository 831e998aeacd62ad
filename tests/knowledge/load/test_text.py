from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.errors import UnreadableDocument
from rwkv_rag.knowledge.load.text import decode, normalised, read

SIMPLIFIED = "质保期为两年，自购买之日起计算。\r\n退货请在七天内联系客服，电话是 400-123。"
TRADITIONAL = "保固期為兩年，自購買之日起計算。\n退貨請在七天內聯繫客服，電話是 400-123。"


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gbk", "gb18030"],
)
def test_simplified_chinese_is_read_in_every_encoding(encoding: str) -> None:
    assert read(SIMPLIFIED.encode(encoding), "a.txt").text == SIMPLIFIED.replace("\r\n", "\n")


@pytest.mark.parametrize("encoding", ["utf-8", "big5", "gb18030", "utf-16"])
def test_traditional_chinese_is_read_in_every_encoding(encoding: str) -> None:
    assert read(TRADITIONAL.encode(encoding), "a.txt").text == TRADITIONAL


def test_western_text_with_accents_is_not_taken_for_chinese() -> None:
    text = "Le café est fermé. L'été dernier, nous étions à Grenoble, avant cela à Lille. " * 8
    decoded = decode(text.encode("cp1252"), "a.txt")
    assert "café est fermé" in decoded
    assert not any(character >= "\u2e80" for character in decoded)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_valid_utf_8_is_never_decoded_as_anything_else(text: str) -> None:
    assert decode(text.encode(), "a.txt").removeprefix("\ufeff") == text.removeprefix("\ufeff")


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)) * 8,
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64),
        b"\x7fELF\x02\x01\x01" + b"\0\x01\x02" * 90,
        b"PK\x03\x04" + Random(0).randbytes(4096),
        Random(0).randbytes(4096),
    ],
)
def test_binary_data_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(UnreadableDocument, match=r"photo\.txt is a binary file"):
        decode(data, "photo.txt")


def test_a_truncated_utf_16_file_is_called_damaged() -> None:
    with pytest.raises(UnreadableDocument, match="marked as utf-16 but is damaged"):
        decode("\ufeff质保".encode("utf-16-le")[:-1], "a.txt")


def test_line_ends_are_normalised_once() -> None:
    text = normalised("\ufeffa\r\nb\rc\n\r\nd")
    assert text == "a\nb\nc\n\nd"
    assert normalised(text) == text
