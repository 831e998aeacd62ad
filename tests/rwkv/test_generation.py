"""Generation on a model that writes what the test tells it to, and stop strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import InputError, ModelMismatch
from rwkv_rag.interfaces import Generator
from rwkv_rag.rwkv.generation import StopMatcher
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.types import GREEDY, Delta, Sampling, SourceSpan

from . import one_by_one
from .one_by_one import OneByOne

WORDS = ["\n\n", "User", "巴黎", "是首都。", " Paris", "Paris", "100"]
TOKENIZER = Tokenizer([b"", *(bytes([i]) for i in range(256)), *(w.encode() for w in WORDS)])


@dataclass
class ReadTokens:
    """A state that remembers everything."""

    tokens: list[int] = field(default_factory=list)

    def clone(self) -> ReadTokens:
        return ReadTokens(list(self.tokens))


@dataclass
class Output:
    logits: torch.Tensor
    state: ReadTokens


class ScriptedModel:
    """Writes `script` after the prompt, then ends; it likes token 65 ("@") second best."""

    def __init__(self, script: str | list[int], vocab: int = TOKENIZER.vocab_size + 3) -> None:
        self.script = TOKENIZER.encode(script) if isinstance(script, str) else script
        self.vocab = vocab
        self.reads: list[list[int]] = []
        self.memory = ReadTokens()
        self.steps = 0

    def forward(self, tokens: Sequence[Sequence[int]], state: ReadTokens | None = None) -> Output:
        self.memory = state = state or ReadTokens()
        state.tokens += tokens[0]
        self.reads.append(list(tokens[0]))
        return Output(self._logits(0), state)

    def step(self, tokens: Sequence[int], state: ReadTokens) -> torch.Tensor:
        state.tokens += tokens
        self.steps += 1
        return self._logits(self.steps)

    def _logits(self, place: int) -> torch.Tensor:
        logits = torch.zeros(1, self.vocab)
        logits[0, 65] = 1.0
        logits[0, self.script[place] if place < len(self.script) else 0] = 5.0
        logits[0, TOKENIZER.vocab_size :] = 99.0  # rows that no token has
        return logits


def deltas(
    model: ScriptedModel,
    *,
    prompt: str = "问：",
    sampling: Sampling = GREEDY,
    max_tokens: int = 50,
    stop: Sequence[str] = (),
    sources: Sequence[str] | None = None,
    refusal: str = "",
) -> list[Delta]:
    generator: Generator = OneByOne(model, TOKENIZER, name="scripted")
    stream = generator.generate(
        prompt,
        sampling=sampling,
        max_tokens=max_tokens,
        stop=stop,
        sources=sources,
        refusal=refusal,
    )
    return list(stream)


def text(pieces: list[Delta]) -> str:
    return "".join(piece.text for piece in pieces)


def test_text_streams_in_whole_characters_and_ends_at_token_zero() -> None:
    pieces = deltas(ScriptedModel("巴黎 😀!"))
    assert [p.text for p in pieces] == ["巴黎", " ", "😀", "!", ""]
    assert [p.finish for p in pieces] == ["", "", "", "", "stop"]
    assert all(p.span is None for p in pieces)


def test_generation_ends_after_max_tokens_and_asks_the_model_no_further() -> None:
    model = ScriptedModel("abcdef")
    pieces = deltas(model, max_tokens=3)
    assert text(pieces) == "abc" and pieces[-1].finish == "length"
    assert model.steps == 2


def test_a_character_cut_off_by_max_tokens_is_left_out() -> None:
    assert text(deltas(ScriptedModel("a😀"), max_tokens=3)) == "a"


@settings(max_examples=60, deadline=None)
@given(
    st.text("ab用\n:", max_size=12),
    st.lists(st.text("ab用\n:", min_size=1, max_size=3), max_size=2),
    st.integers(1, 20),
)
def test_stop_strings_cut_the_text_wherever_tokens_lie(
    script: str, stops: list[str], max_tokens: int
) -> None:
    ids = TOKENIZER.encode(script)[:max_tokens]
    written = b"".join(map(TOKENIZER.token_bytes, ids)).decode(errors="ignore")
    expected = written[
        : min((written.find(s) for s in stops if s in written), default=len(written))
    ]
    pieces = deltas(ScriptedModel(script), stop=stops, max_tokens=max_tokens)
    assert text(pieces) == expected
    assert [p.finish != "" for p in pieces] == [False] * (len(pieces) - 1) + [True]
    assert all(p.text for p in pieces[:-1])


def test_a_stop_string_over_several_tokens_is_not_shown() -> None:
    pieces = deltas(ScriptedModel("巴黎\n\nUser: x"), stop=["\n\nUser:"])
    assert text(pieces) == "巴黎" and pieces[-1].finish == "stop"


def test_a_grounded_answer_is_a_span_though_the_model_wants_other_words() -> None:
    sources = ["没有。", "法国：巴黎是首都。"]
    pieces = deltas(ScriptedModel([65, *TOKENIZER.encode("巴黎")]), sources=sources)
    span = pieces[-1].span
    assert span is not None and text(pieces)
    assert sources[span.source][span.start : span.end] == text(pieces)


def test_a_grounded_answer_carries_its_place_without_the_leading_space() -> None:
    pieces = deltas(ScriptedModel(" Paris"), sources=["", "In Paris, rain."])
    assert text(pieces) == "Paris"
    assert pieces[-1] == Delta("", "stop", SourceSpan(1, 3, 8))


def test_a_grounded_answer_at_the_end_of_its_source_needs_no_further_token() -> None:
    model = ScriptedModel("巴黎是首都。")
    pieces = deltas(model, sources=["巴黎是首都。"])
    assert text(pieces) == "巴黎是首都。" and pieces[-1].finish == "stop"
    assert model.steps == 1  # 巴黎 | 是首都。


def test_a_grounded_answer_cut_short_ends_after_a_whole_word() -> None:
    pieces = deltas(ScriptedModel("Paris 100000 x"), sources=["Paris 100000 x"], max_tokens=3)
    assert text(pieces) == "Paris"
    assert pieces[-1].finish == "length" and pieces[-1].span == SourceSpan(0, 0, 5)


def test_a_stop_string_ends_a_grounded_answer_before_it() -> None:
    source = "巴黎 \n\nUser: 是首都。"
    model = ScriptedModel(source)
    pieces = deltas(model, sources=[source], stop=["\n\nUser:"])
    assert model.steps == 4  # 巴黎 | space | line feeds | User | :
    assert text(pieces) == "巴黎"
    assert pieces[-1].finish == "stop" and pieces[-1].span == SourceSpan(0, 0, 2)


def test_the_refusal_comes_out_exactly_and_without_span() -> None:
    refusal = "巴黎不在资料中。"
    model = ScriptedModel(refusal)
    pieces = deltas(model, sources=["巴黎是首都。"], refusal=refusal)
    assert pieces == [Delta(refusal, "refusal")]
    assert model.steps < len(model.script)  # once nothing else is possible the model is not asked


def test_a_refusal_that_the_sources_contain_is_still_a_refusal() -> None:
    pieces = deltas(ScriptedModel("Paris"), sources=["Paris: 100"], refusal="Paris")
    assert pieces == [Delta("Paris", "refusal")]
    assert pieces == deltas(
        ScriptedModel("Paris"), sources=["Paris: 100"], refusal="Paris", max_tokens=1
    )


def test_an_answer_that_begins_like_the_refusal_is_shown_once_it_has_left_it() -> None:
    pieces = deltas(ScriptedModel("巴黎是首都。"), sources=["巴黎是首都。x"], refusal="巴黎不知。")
    assert [p.text for p in pieces] == ["巴黎是首都。", ""]
    assert pieces[-1].span == SourceSpan(0, 0, 6)


def test_without_text_in_the_sources_the_model_is_not_asked() -> None:
    model = ScriptedModel("Paris")
    assert deltas(model, sources=["", " "], refusal="不知。") == [Delta("不知。", "refusal")]
    assert model.reads == []


@settings(max_examples=60, deadline=None)
@given(
    sources=st.lists(st.text("ab 1,.巴黎\n😀", max_size=12), min_size=1, max_size=3),
    refusal=st.sampled_from(["", "不知。", "ab"]),
    stop=st.sampled_from([[], ["\n"], ["黎", "b "]]),
    max_tokens=st.integers(1, 12),
    seed=st.integers(0, 10**6),
)
def test_grounded_text_is_always_a_quote_or_the_refusal(
    sources: list[str], refusal: str, stop: list[str], max_tokens: int, seed: int
) -> None:
    if not (refusal or "".join(sources).strip()):
        return
    pieces = deltas(
        ScriptedModel([]),
        sampling=Sampling(temperature=50.0, top_p=1.0, seed=seed),  # all but uniform
        sources=sources,
        refusal=refusal,
        stop=stop,
        max_tokens=max_tokens,
    )
    last, whole = pieces[-1], text(pieces)
    if last.finish == "refusal":
        assert whole == refusal and last.span is None
    elif last.span is None:
        assert whole == ""
    else:
        assert sources[last.span.source][last.span.start : last.span.end] == whole != ""
        assert not any(s in whole for s in stop)


def test_a_long_prompt_is_read_in_pieces_from_a_copy_of_the_initial_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(one_by_one, "PREFILL_TOKENS", 4)
    model = ScriptedModel("a")
    generator = OneByOne(model, TOKENIZER, name="scripted")
    list(generator.generate("0123456789", sampling=GREEDY, max_tokens=1))
    assert model.memory.tokens == TOKENIZER.encode("0123456789")
    start = ReadTokens([7])
    model = ScriptedModel("a")
    generator = OneByOne(model, TOKENIZER, name="scripted", initial_state=start)
    for _ in range(2):
        model.steps = 0
        list(generator.generate("0123456789", sampling=GREEDY, max_tokens=5))
    assert [len(read) for read in model.reads] == [4, 4, 2] * 2
    assert start.tokens == [7]


def test_nothing_is_asked_of_the_model_before_the_first_delta_or_after_closing() -> None:
    model = ScriptedModel("abc")
    generator = OneByOne(model, TOKENIZER, name="scripted")
    stream = generator.generate("x", sampling=GREEDY, max_tokens=5)
    assert model.reads == []
    assert next(stream).text == "a"
    stream.close()  # type: ignore[attr-defined]
    assert list(stream) == [] and model.steps == 0


def test_penalties_forbid_repeating_letters_but_not_digits() -> None:
    sampling = Sampling(temperature=0.0, presence_penalty=50.0)
    assert text(deltas(ScriptedModel("aaa"), sampling=sampling, max_tokens=2)) == "a@"
    assert text(deltas(ScriptedModel("777"), sampling=sampling, max_tokens=3)) == "777"


def test_the_name_and_the_count_of_tokens_are_told() -> None:
    generator = OneByOne(ScriptedModel(""), TOKENIZER, name="scripted")
    assert generator.name == "scripted"
    assert generator.count_tokens("巴黎是首都。") == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: deltas(m, prompt=""), "prompt is empty"),
        (lambda m: deltas(m, max_tokens=0), "max_tokens is 0"),
        (lambda m: deltas(m, stop=[""]), "stop strings"),
        (lambda m: deltas(m, sources=[""]), "no text to quote"),
        (lambda m: deltas(m, sampling=Sampling(top_p=2)), "top_p"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_without_asking_the_model(
    call: Callable[[ScriptedModel], object], message: str
) -> None:
    model = ScriptedModel("a")
    with pytest.raises(InputError, match=message):
        call(model)
    assert model.reads == []


def test_a_tokenizer_of_another_model_is_refused() -> None:
    with pytest.raises(ModelMismatch, match="vocabulary file"):
        deltas(ScriptedModel("a", vocab=TOKENIZER.vocab_size - 1))


def cut(text: str, stops: list[str]) -> str:
    """The whole text up to the leftmost stop string."""
    return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]


@settings(max_examples=300, deadline=None)
@given(
    pieces=st.lists(st.text("ab用", max_size=3), max_size=12),
    stops=st.lists(st.text("ab用", min_size=1, max_size=4), max_size=3),
)
def test_any_pieces_give_what_cutting_the_whole_text_gives(
    pieces: list[str], stops: list[str]
) -> None:
    matcher = StopMatcher(stops)
    shown = ""
    for i, piece in enumerate(pieces):
        shown += matcher.push(piece)
        read = "".join(pieces[: i + 1])
        assert cut(read, stops).startswith(shown)  # nothing shown is ever taken back
        longest = max(map(len, stops), default=1)
        assert matcher.stopped or len(shown) >= len(cut(read, stops)) - 2 * (longest - 1)
    shown += matcher.flush()
    whole = "".join(pieces)
    assert shown == cut(whole, stops)
    assert matcher.stopped == any(stop in whole for stop in stops)


def test_a_stop_string_across_token_borders_is_never_shown() -> None:
    matcher = StopMatcher(["\n\nUser:"])
    shown = [matcher.push(piece) for piece in ["是的。", "\n\n", "User", ":", " 下一个"]]
    assert shown == ["是的。", "", "", "", ""]
    assert matcher.stopped and matcher.flush() == ""


def test_held_back_text_is_shown_as_soon_as_it_cannot_become_a_stop_string() -> None:
    matcher = StopMatcher(["\n\nUser:"])
    assert [matcher.push(piece) for piece in ["a\n\n", "U", "S"]] == ["a", "", "\n\nUS"]


def test_a_longer_stop_string_that_began_earlier_is_waited_for() -> None:
    matcher = StopMatcher(["abcd", "c"])
    assert matcher.push("xabc") == "x" and not matcher.stopped
    assert matcher.push("d") == "" and matcher.stopped


def test_without_stop_strings_everything_passes_at_once() -> None:
    matcher = StopMatcher([])
    assert matcher.push("any\n\nUser:") == "any\n\nUser:"
    assert not matcher.stopped


def test_an_unfinished_stop_string_at_the_end_is_text() -> None:
    matcher = StopMatcher(["END"])
    assert matcher.push("EN") + matcher.flush() == "EN"


@pytest.mark.parametrize("stops", [[""], ["a", ""], "User"])
def test_an_empty_stop_string_and_a_bare_text_are_refused(stops: list[str]) -> None:
    with pytest.raises(InputError, match="stop strings"):
        StopMatcher(stops)
