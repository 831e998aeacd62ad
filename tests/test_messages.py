"""Errors reach a Chinese reader in Chinese where we know them, and always on one line."""

from __future__ import annotations

import pytest

from rwkv_rag.errors import InputError, NotFound, RagError
from rwkv_rag.messages import CHINESE, explain, explain_reason


def test_english_readers_get_the_message_as_it_is() -> None:
    assert explain(NotFound("no knowledge base 'x'"), "en") == "no knowledge base 'x'"


def test_what_we_do_not_know_stays_english() -> None:
    assert explain(RagError("something new"), "zh") == "something new"


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_message_is_one_line_whatever_it_quotes(language: str) -> None:
    assert "\n" not in explain(InputError("bad\nname\r\n"), language)  # type: ignore[arg-type]


def test_values_travel_into_the_translation() -> None:
    assert explain_reason("report {1}.txt is empty", "zh") == "report {1}.txt 是空文件"


@pytest.mark.parametrize(("pattern", "chinese"), CHINESE)
def test_every_translation_uses_every_value_of_its_pattern(pattern: str, chinese: str) -> None:
    import re
    import string

    used = {int(name) for _, name, _, _ in string.Formatter().parse(chinese) if name}
    assert used <= set(range(re.compile(pattern).groups))
