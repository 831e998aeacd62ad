"""Grounded decoding against brute force: nothing but quotes, every quote, and where it stands."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv import tokenizer
from rwkv_rag.rwkv.grounding import Grounding, Passages, TokenTrie
from rwkv_rag.types import SourceSpan

# All single bytes as in World, whole characters and words, pieces of characters across borders, and
# white space glued to text: everything a real vocabulary does, small enough for brute force.
_PIECES = [
    "用户",
    "用",
    "的。",
    "\n\n",
    "  ",
    " a",
    "ab",
    "b1",
    "12",
    "1,",
    " 用",
    ".\n",
    "😀",
    "12,3",
    "\u3000",
]
_BYTES = [
    *(t.encode() for t in _PIECES),
    "😀".encode()[:2],
    "用户".encode()[1:4],
    "a用".encode()[:2],
]
TOKENS = [b"", *(bytes([i]) for i in range(256)), *_BYTES, b""]
TRIE = TokenTrie(TOKENS.__getitem__, len(TOKENS))
LINE_ENDS = {TOKENS.index(b"\n"), TOKENS.index(b"\n\n")}

texts = st.text("ab12,.用户的。 \n\u3000é\u0301😀\u200d\ud800", max_size=14)
sources_lists = st.lists(texts, max_size=3)


def ids_of(text: str) -> list[int]:
    """Greedy longest match."""
    data, ids = text.encode(), []
    while data:
        ids.append(
            max(
                (i for i, t in enumerate(TOKENS) if t and data.startswith(t)),
                key=lambda i: len(TOKENS[i]),
            )
        )
        data = data[len(TOKENS[ids[-1]]) :]
    return ids


def grounding(*sources: str, refusal: str = "") -> Grounding:
    return Grounding(Passages(sources), TRIE, refusal=refusal)


def feed(answer: Grounding, text: str) -> Grounding:
    for i in ids_of(text):
        assert i in answer.allowed()
        assert answer.push(i)
    return answer


def cuts(text: str, i: int) -> bool:
    """Whether a border before character i would cut a word, a number or a composed character."""
    before, after = text[:i][-1:], text[i:][:1]
    word = re.compile(r"[ab12é\u0301]")
    if not before or not after or "\ud800" in before + after:
        return after in ("\u0301", "\u200d") if after else False
    if after in "\u0301\u200d" or (before == "\u200d" and not after.isspace()):
        return True
    number = re.compile(r"[12][,.][12]")
    in_number = any(number.match(text[j : j + 3]) for j in (i - 1, i - 2) if j >= 0)
    return in_number or bool(word.match(before) and word.match(after))


def brute_force(sources: list[str], refusal: str, so_far: bytes, begun: bool) -> set[int]:
    """The allowed tokens by their definition, trying each on every place of every source."""
    tails, ends = [], False
    for source in sources:
        for i, character in enumerate(source):
            if character.isspace() or character == "\ud800" or cuts(source, i):
                continue
            tail = source[i:].split("\ud800")[0].rstrip()
            tails.append(tail.encode())
            if so_far and tail.encode().startswith(so_far):
                text = so_far.decode(errors="ignore")
                whole = text.encode() == so_far and text == text.rstrip()
                ends = ends or (whole and not cuts(source, i + len(text)))
    tails += [refusal.encode()] if refusal else []
    ends = ends or (bool(refusal) and so_far == refusal.encode())
    allowed = {0} | LINE_ENDS if ends else set()
    for i, token in enumerate(TOKENS):
        rests = [token] if begun or token[:1] not in (b" ", b"\n") else [token[1:]]
        if token and any(tail.startswith(so_far + rest) for tail in tails for rest in rests):
            allowed.add(i)
    return allowed


@settings(max_examples=150, deadline=None)
@given(sources_lists, st.sampled_from(["", "用不", "ab"]), st.integers(0, 10**9))
def test_the_allowed_tokens_are_those_of_brute_force(
    sources: list[str], refusal: str, seed: int
) -> None:
    assume(refusal or any(brute_force(sources, "", b"", False)))
    answer = grounding(*sources, refusal=refusal)
    chance = random.Random(seed)
    so_far, begun = b"", False
    for _ in range(6):
        allowed = answer.allowed().tolist()
        assert set(allowed) == brute_force(sources, refusal, so_far, begun)
        assert allowed == sorted(set(allowed))
        token = chance.choice(allowed)
        if not answer.push(token):
            break
        data = TOKENS[token]
        so_far += data[1:] if not begun and data[:1] in (b" ", b"\n") else data
        begun = True


@settings(max_examples=300, deadline=None)
@given(
    sources=sources_lists,
    steps=st.integers(1, 12),
    seed=st.integers(0, 10**9),
)
def test_whatever_is_drawn_the_answer_is_a_verbatim_span_of_a_source(
    sources: list[str], steps: int, seed: int
) -> None:
    passages = Passages(sources)
    assume(passages.starts)
    answer = Grounding(passages, TRIE)
    chance = random.Random(seed)
    ended = False
    shown = ""
    for _ in range(steps):
        ended = not answer.push(chance.choice(answer.allowed().tolist()))
        assert answer.settled(10**9).startswith(shown)  # what is settled is never taken back
        shown = answer.settled(10**9)
        if ended:
            break
    text, span = answer.settled(10**9), answer.quote(10**9)
    assert (span is None) == (text == "")
    if ended:
        assert text == answer.text  # an end is offered only where the whole text is an answer
    if span is not None:
        source = sources[span.source]
        assert source[span.start : span.end] == text == text.strip()
        assert not cuts(source, span.start) and not cuts(source, span.end)


@settings(max_examples=100, deadline=None)
@given(sources_lists, st.data())
def test_every_span_of_whole_words_can_be_generated(
    sources: list[str], data: st.DataObject
) -> None:
    places = [
        SourceSpan(s, i, j)
        for s, source in enumerate(sources)
        for i in range(len(source))
        for j in range(i + 1, len(source) + 1)
        if not (cuts(source, i) or cuts(source, j) or "\ud800" in source[i:j])
        and source[i:j] == source[i:j].strip()
    ]
    assume(places)
    place = data.draw(st.sampled_from(places))
    text = sources[place.source][place.start : place.end]
    answer = feed(grounding(*sources), text)
    assert 0 in answer.allowed()
    assert not answer.push(0)
    first = min((p.source, p.start) for p in places if sources[p.source][p.start : p.end] == text)
    assert answer.quote(len(text)) == SourceSpan(*first, first[1] + len(text))


def test_a_number_is_not_quoted_in_part() -> None:
    answer = grounding("It cost 1,200 yuan.")
    assert TOKENS.index(b"2") not in answer.allowed()
    feed(answer, "1")
    assert 0 not in answer.allowed()
    feed(answer, ",200")
    assert 0 in answer.allowed()


def test_chinese_may_be_cut_between_any_two_characters() -> None:
    answer = feed(grounding("公司用户的。"), "用")
    assert 0 in answer.allowed()
    assert answer.quote(9) == SourceSpan(0, 2, 3)


def test_an_answer_ends_only_where_its_place_is_a_border() -> None:
    """'ab' is a word in the second source only; that one is the quote."""
    answer = feed(grounding("abba 1", "x ab 2"), "ab")
    assert 0 in answer.allowed()
    assert answer.quote(9) == SourceSpan(1, 2, 4)


def test_a_leading_space_is_not_part_of_the_span() -> None:
    answer = feed(grounding("x ab 2"), " ab"[:2])
    assert not set(answer.allowed().tolist()) & {0}
    feed(answer, "b")
    assert answer.text == "ab" and answer.quote(9) == SourceSpan(0, 2, 4)


def test_only_one_leading_space_is_allowed() -> None:
    answer = grounding("a b")
    space = TOKENS.index(b" ")
    assert answer.push(space)
    assert space not in answer.allowed()


def test_a_line_break_that_is_no_quote_ends_the_answer() -> None:
    answer = feed(grounding("用户的。"), "用户")
    assert not answer.push(TOKENS.index(b"\n\n"))
    assert answer.settled(9) == "用户"


def test_a_line_break_of_the_source_goes_on_with_the_quote() -> None:
    answer = feed(grounding("用户\n\n的。"), "用户\n\n")
    assert 0 not in answer.allowed()  # an answer does not end with white space
    assert feed(answer, "的").settled(9) == "用户\n\n的"


def test_no_quote_crosses_from_one_source_to_the_next() -> None:
    answer = feed(grounding("用", "户"), "用")
    assert set(answer.allowed().tolist()) == {0} | LINE_ENDS
    assert answer.decided
    with pytest.raises(InputError, match="does not continue"):
        answer.push(TOKENS.index("用户".encode()))
    with pytest.raises(InputError, match="does not continue"):
        answer.push(TOKENS.index(b"\xff"))  # the byte that stands between the sources


def test_a_source_shorter_than_its_token_is_read_byte_by_byte() -> None:
    answer = grounding("用")
    assert TOKENS.index("用户".encode()) not in answer.allowed()
    for byte in "用".encode():
        assert 0 not in answer.allowed()
        assert answer.text == ""
        assert answer.push(TOKENS.index(bytes([byte])))
    assert answer.text == "用" and answer.decided


def test_the_refusal_is_an_answer_beside_the_spans() -> None:
    answer = feed(grounding("用户的。", refusal="用不"), "用")
    assert answer.may_refuse and not answer.refuses and answer.settled(9) == "用"
    for byte in "不".encode():
        answer.push(TOKENS.index(bytes([byte])))
    assert answer.refuses and answer.decided


def test_a_span_that_leaves_the_refusal_is_no_refusal() -> None:
    answer = feed(grounding("用户的。", refusal="用不"), "用户")
    assert not answer.may_refuse and not answer.refuses


def test_sources_without_text_leave_only_the_refusal() -> None:
    answer = grounding("", " \n", refusal="用不")
    assert answer.refuses and answer.decided
    with pytest.raises(InputError, match="no text to quote"):
        grounding("", " \n")


def test_limits_of_the_input_are_named() -> None:
    with pytest.raises(InputError, match="longer than"):
        Passages(["a" * (5 << 20)])
    with pytest.raises(InputError, match="not one text"):
        Passages("a text")


def test_settled_text_can_be_asked_up_to_a_length() -> None:
    answer = feed(grounding("用户的。 ab"), "用户的。 a")
    assert [answer.settled(n) for n in (0, 1, 3, 5, 6)] == [
        "",
        "用",
        "用户的",
        "用户的。",
        "用户的。",
    ]


def test_the_world_vocabulary_is_masked_as_brute_force_says() -> None:
    path = Path(tokenizer.__file__).with_name("rwkv_vocab_v20230424.txt")
    world = tokenizer.Tokenizer.from_file(path)
    source = (
        "保修期为两年，自购买之日起计算。 The warranty lasts two years; batteries 😀 excepted. "
    )
    answer = Grounding(Passages([source]), TokenTrie(world.token_bytes, world.vocab_size))
    tail = source[source.index("两年") :].rstrip().encode()
    so_far = b""
    for token in world.encode("两年，自购买之日起计算。 The warranty"):
        if so_far:  # from here on there is one place, so what fits is a prefix of its tail
            fits = {i for i, t in enumerate(world.tokens) if t and tail.startswith(so_far + t)}
            ends = {0, *world.encode("\n"), *world.encode("\n\n")}
            assert fits <= set(answer.allowed().tolist()) <= fits | ends
        assert answer.push(token)
        so_far += world.token_bytes(token)
    span = answer.quote(99)
    assert span is not None and source[span.start : span.end] == so_far.decode()
