"""Stop strings in pieces of text against cutting the whole text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import InputError
from rwkv_rag.rwkv.stops import StopMatcher


def cut(text: str, stops: list[str]) -> str:
    """The naive way: the whole text up to the leftmost stop string."""
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
    text = "".join(pieces)
    assert shown == cut(text, stops)
    assert matcher.stopped == any(stop in text for stop in stops)


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
