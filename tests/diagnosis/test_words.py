"""Every finding can be said in both languages, with the same values."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from rwkv_rag import diagnosis
from rwkv_rag.diagnosis import words
from rwkv_rag.diagnosis.extras import EXTRAS
from rwkv_rag.diagnosis.finding import fail
from rwkv_rag.diagnosis.words import CHINESE

SOURCE = Path(diagnosis.__file__).parent
MAKERS = ("ok", "warn", "fail", "judge", "_room", "_optional", "Finding")
NAMES = ("said", "mend", "AGAIN", "BELONGS", "OTHERS", "NOTHING")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def said() -> set[str]:
    """Every text that a finding is made with."""
    found: set[str] = set()
    for file in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            values: list[ast.expr] = []
            if isinstance(node, ast.Call) and ast.unparse(node.func) in MAKERS:
                values = node.args
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in NAMES:
                values = [node.value]
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple):
                values = node.value.elts  # said, mend = …
            found |= {each.value for each in values if is_text(each)}  # type: ignore[attr-defined]
    return {each for each in found if " " in each or "{" in each}


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_whatever_is_found_is_known_in_chinese() -> None:
    texts = said()
    assert len(texts) > 40
    assert texts - set(CHINESE) == set()


def test_nothing_is_translated_that_nobody_says() -> None:
    phrases = {each for each in CHINESE if " " in each or "{" in each}
    assert phrases - said() == set()


@pytest.mark.parametrize("english", CHINESE)
def test_both_languages_use_the_same_values(english: str) -> None:
    assert fields(english) == fields(CHINESE[english])


def test_a_reason_is_translated_and_a_name_is_not() -> None:
    finding = fail(
        "data", "{path} cannot be written: {why}", path="a file", why="No such file or directory"
    )
    assert words.said(finding, "zh") == "a file 无法写入：没有这个文件或目录"
    assert words.said(finding, "en") == "a file cannot be written: No such file or directory"


def test_the_extras_are_those_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    for extra, distributions in EXTRAS.items():
        [line] = [line for line in text.splitlines() if line.startswith(f"{extra} = [")]
        declared = [part.split(">=")[0].strip(' "[]') for part in line.split("=", 1)[1].split(",")]
        assert tuple(declared) == distributions
