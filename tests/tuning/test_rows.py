"""A row becomes the tokens the chat would read and write, and only the answer is scored."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rwkv_rag.errors import InputError
from rwkv_rag.models import BUILTIN_MODEL
from rwkv_rag.rag import prompt
from rwkv_rag.rag.answering import REFUSAL, Answering
from rwkv_rag.rwkv.tokenizer import Tokenizer
from rwkv_rag.tuning.rows import RowEncoder


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(BUILTIN_MODEL / "vocab.txt")


def parts(record: object, scored: str = "answers") -> tuple[str, str]:
    """The text of all tokens and of the scored ones, ends as |."""
    row = RowEncoder(tokenizer(), scored=scored).encode(record)  # type: ignore[arg-type]
    assert row.ids[-1] == 0 and row.scored[-1] and not row.scored[0]

    def text(ids: Any) -> str:
        return "".join("|" if i == 0 else tokenizer().decode([i]) for i in ids)

    return text(row.ids), text(row.ids[row.scored])


def test_a_text_is_taken_as_it_stands_and_its_answer_scored() -> None:
    text = "User: What is the fee?\n\nAssistant: 48 pounds."
    assert parts({"text": text}) == (text + "|", " 48 pounds.|")


def test_every_answer_of_a_text_is_scored_with_the_blank_line_that_ends_it() -> None:
    text = "System: Be brief.\n\nUser: a?\n\nAssistant: one\n\ntwo\n\nUser: b?\n\nAssistant: three"
    assert parts({"text": text})[1] == " one\n\ntwo\n\n three|"


def test_a_text_without_turns_is_scored_whole_but_for_its_first_token() -> None:
    whole, scored = parts({"text": "The garden opens at six."})
    assert whole == "The garden opens at six.|"
    assert scored == whole[len("The") :]


def test_messages_become_the_template_of_the_chat() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "b?"},
        {"role": "assistant", "content": "two"},
    ]
    whole, scored = parts({"messages": messages})
    assert whole == (
        "System: Be brief.\n\nUser: a?\n\nAssistant: one\n\nUser: b?\n\nAssistant: two|"
    )
    assert scored == " one\n\n two|"


def test_a_question_becomes_one_turn() -> None:
    assert parts({"question": "a?", "answer": "one"}) == (
        "User: a?\n\nAssistant: one|",
        " one|",
    )


@pytest.mark.parametrize("question", ["保修期多久？", "How long is the warranty?"])
def test_passages_are_put_as_the_chat_puts_them(question: str) -> None:
    passages = ["整机保修期为 2 年。", "The fee is 48 pounds."]
    row = {
        "question": question,
        "answer": "2 年[1]",
        "passages": [{"text": passages[0]}, passages[1]],
    }
    asked = prompt.free(
        question,
        passages,
        language="zh" if "保" in question else "en",
        budget=Answering().budget_tokens,
        count=lambda text: len(tokenizer().encode(text)),
    )
    assert parts(row) == (asked.text + " 2 年[1]|", " 2 年[1]|")


def test_a_refusal_needs_no_answer_of_its_own() -> None:
    row = {"question": "What is the fee?", "passages": ["Dogs bark."], "refused": True}
    assert parts(row)[1] == f" {REFUSAL['en']}|"


LETTERS = st.text(st.sampled_from("ab 。\n:User问Assistant"), min_size=1, max_size=30)


@given(LETTERS.filter(str.strip), LETTERS.filter(lambda text: prompt.clean(text) != ""))
@settings(max_examples=100, deadline=None)
def test_training_sees_the_tokens_that_asking_gives(question: str, answer: str) -> None:
    """At the border: the prompt's own tokens, then the answer's own; nothing is merged."""
    row = RowEncoder(tokenizer()).encode({"question": question, "answer": answer})
    asked = tokenizer().encode(f"User: {prompt.clean(question)}\n\nAssistant:")
    said = tokenizer().encode(f" {prompt.clean(answer)}")
    assert row.ids.tolist() == [*asked, *said, 0]
    assert row.scored.tolist() == [False] * len(asked) + [True] * (len(said) + 1)


@given(st.lists(LETTERS.filter(lambda text: prompt.clean(text) != ""), min_size=2, max_size=4))
@settings(max_examples=100, deadline=None)
def test_no_content_can_pose_as_a_turn(contents: list[str]) -> None:
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": content}
        for n, content in enumerate(contents[: len(contents) // 2 * 2])
    ]
    whole, _ = parts({"messages": messages})
    roles = re.findall(r"^\s*(User|Assistant|System|Bot):", whole, re.MULTILINE | re.IGNORECASE)
    assert roles == ["User", "Assistant"] * (len(messages) // 2)


def test_everything_can_be_scored_and_is_then_encoded_as_rwkv_lm_does() -> None:
    text = "User: a?\n\nAssistant: one"
    row = RowEncoder(tokenizer(), scored="all").encode({"text": text})
    assert row.ids.tolist() == [*tokenizer().encode(text), 0]
    assert row.scored.tolist() == [False] + [True] * (len(row.ids) - 1)


def test_notes_of_other_tools_do_no_harm() -> None:
    row = {"question": "a?", "answer": "b", "id": 7, "kind": "answer", "source": {"document": "d"}}
    assert parts(row)[1] == " b|"


USER = {"role": "user", "content": "a"}
SAID = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (["text"], "not an object"),
        ({}, "none of"),
        ({"id": 1}, "none of"),
        ({"text": "a", "messages": []}, "more than one of"),
        ({"question": "a", "answer": "b", "passage": "c"}, '"passage" is not a key'),
        ({"text": 7}, '"text" is missing or not a text'),
        ({"text": " \n"}, '"text" is empty'),
        ({"text": "User: a"}, "does not end with an answer"),
        ({"text": "User: a\n\nAssistant: "}, "does not end with an answer"),
        ({"text": "User: a\n\nAssistant: b\n\nUser: c"}, "does not end with an answer"),
        ({"messages": {}}, "not a list"),
        ({"messages": []}, "not a list"),
        ({"messages": [USER]}, "does not end with a message of the assistant"),
        ({"messages": [{"role": "user"}, SAID]}, "message 1 has no"),
        ({"messages": [{"role": "tool", "content": "a"}, SAID]}, "'tool'"),
        ({"messages": [{"role": ["user"], "content": "a"}, SAID]}, "role"),
        ({"messages": [USER, {"role": "system", "content": "x"}, SAID]}, "only the first"),
        ({"messages": [USER, {"role": "assistant", "content": "  "}]}, "message 2 is empty"),
        ({"question": "a"}, '"answer" is missing'),
        ({"question": "", "answer": "b"}, '"question" is empty'),
        ({"question": "a", "answer": ""}, '"answer" is empty'),
        ({"question": "a", "answer": "b", "refused": 1}, "neither true nor false"),
        ({"question": "a", "answer": "b", "passages": "c"}, "not a list"),
        ({"question": "a", "answer": "b", "passages": ["c", {"t": 1}]}, "passage 2"),
        ({"question": "a" * 9000, "answer": "b", "passages": ["c"]}, "tokens, too many"),
    ],
)
def test_what_is_no_row_is_told_in_one_line(record: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        RowEncoder(tokenizer()).encode(record)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_vocabulary_that_two_bytes_cannot_hold_is_refused() -> None:
    tokens = [b"", *(bytes([n]) for n in range(256)), *(b"%d" % n for n in range(100_000, 165_536))]
    with pytest.raises(InputError, match="two bytes a token"):
        RowEncoder(Tokenizer(tokens))
