"""Every text of the pages exists in both languages, with the same values."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from .conftest import parts  # skips this file without streamlit

from rwkv_rag.ui.words import CHINESE  # isort: skip

SOURCE = Path(parts.__file__).parent


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("english", CHINESE)
def test_both_languages_use_the_same_values(english: str) -> None:
    assert fields(english) == fields(CHINESE[english])


def test_the_catalogue_holds_exactly_what_the_pages_say() -> None:
    said = set()
    for file in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "text" and node.args:
                said.add(ast.literal_eval(node.args[0]))
    assert said == set(CHINESE)
