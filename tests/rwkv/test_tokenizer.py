"""The World tokenizer against the `rwkv` package's, its round trips, streaming and wrong files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rwkv_rag.rwkv
from rwkv_rag.errors import NotFound, UnsupportedModel
from rwkv_rag.rwkv.tokenizer import StreamDecoder, Tokenizer, write_vocabulary

WORLD = Path(rwkv_rag.rwkv.__file__).parent / "rwkv_vocab_v20230424.txt"
BYTES = [b"", *(bytes([b]) for b in range(256))]
MIXED = "RWKV 读 1,000 行代码。\r\n\tdef f(x): return x**2  # 😀 naïve café 漢字 العربية\n\n\n"


@pytest.fixture(scope="module")
def world() -> Tokenizer:
    return Tokenizer.from_file(WORLD)


def naive(tokens: list[bytes], data: bytes) -> list[int]:
    """Greedy longest match, tried one length after the other."""
    ids = {token: i for i, token in enumerate(tokens) if token}
    longest = max(map(len, tokens))
    out = []
    while data:
        size = next(n for n in range(min(longest, len(data)), 0, -1) if data[:n] in ids)
        out.append(ids[data[:size]])
        data = data[size:]
    return out


def test_world_ids_equal_the_rwkv_packages(world: Tokenizer) -> None:
    reference = pytest.importorskip("rwkv.rwkv_tokenizer").TRIE_TOKENIZER(str(WORLD))
    texts = [
        MIXED,
        MIXED[::-1],
        "中" * 50,
        " " * 300,
        "a\u0300\u200b",
        WORLD.read_text("utf-8")[:4000],
    ]
    for text in texts:
        assert world.encode(text) == reference.encode(text)


@given(
    st.lists(st.binary(min_size=2, max_size=6), max_size=30, unique=True),
    st.binary(max_size=200),
)
def test_encoding_is_greedy_longest_match_for_any_vocabulary(
    words: list[bytes], data: bytes
) -> None:
    tokens = [*BYTES, *words]
    data += b"".join(words)
    assert Tokenizer(tokens).encode_array(data).tolist() == naive(tokens, data)


@given(st.text())
def test_decoding_gives_the_text_back(text: str) -> None:
    tokenizer = Tokenizer([*BYTES, "的".encode(), b"the "])
    assert tokenizer.decode(tokenizer.encode(text)) == text.encode(errors="replace").decode()


@given(st.text(max_size=40))
def test_streaming_gives_whole_characters_and_loses_none(text: str) -> None:
    tokenizer = Tokenizer(BYTES)
    stream = StreamDecoder(tokenizer)
    pieces = [stream.push(token) for token in tokenizer.encode(text)]
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in text
    assert "".join(pieces) == text.encode(errors="replace").decode()


def test_the_bytes_of_a_cut_character_are_held_back() -> None:
    stream = StreamDecoder(Tokenizer(BYTES))
    assert [stream.push(b + 1) for b in "中".encode()] == ["", "", "中"]


def test_written_vocabulary_reads_back(world: Tokenizer, tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "vocab.txt", world.tokens)
    assert Tokenizer.from_file(tmp_path / "vocab.txt").tokens == world.tokens


def test_ids_outside_the_vocabulary_decode_to_nothing(world: Tokenizer) -> None:
    assert world.decode([0, -5, 10**6]) == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello world\n",
        b"1 'a' 2\n",
        b"0 'a' 1\n",
        b"1 __import__('os') 3\n",
        b"\xff\xfe\x00",
        b"1 'a' 1\n",  # the other 255 bytes are missing
    ],
)
def test_wrong_vocabulary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModel):
        Tokenizer.from_file(path)


def test_missing_vocabulary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="vocab"):
        Tokenizer.from_file(tmp_path / "vocab.txt")
