"""The two languages say the same things with the same values."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from rwkv_rag import cli
from rwkv_rag.cli.messages import CHINESE, translate

SOURCE = Path(cli.__file__).parent


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("english", CHINESE)
def test_both_languages_use_the_same_values(english: str) -> None:
    assert fields(english) == fields(CHINESE[english])


def test_everything_the_commands_say_is_in_the_catalogue() -> None:
    missing = []
    for file in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in ("say", "note", "text", "progress") and node.args:
                said = node.args[0]
                if isinstance(said, ast.Constant) and said.value not in CHINESE:
                    missing.append(said.value)
    assert missing == []


def test_english_and_the_unknown_stay_as_they_are() -> None:
    assert translate("indexing", "en") == "indexing"
    assert translate("never heard of it", "zh") == "never heard of it"
