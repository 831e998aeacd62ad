"""The catalogues hold every text for people and no other, and are compiled (`make messages`)."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from string import Formatter
from types import ModuleType

import pytest

pytest.importorskip("babel", reason="the catalogues are read with babel: pip install babel")

from rwkv_rag.i18n import DOMAIN, FOLDER, LOCALES

SCRIPT = Path(__file__).parents[1] / "scripts" / "catalogue.py"
FILES = [FOLDER / locale / "LC_MESSAGES" / f"{DOMAIN}.po" for locale in LOCALES.values()]


@pytest.fixture(scope="module")
def catalogue() -> ModuleType:
    """The script that brings the catalogues up to date."""
    spec = importlib.util.spec_from_file_location("catalogue", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["catalogue"] = module
    spec.loader.exec_module(module)
    return module


def fields(template: str) -> dict[str, set[str]]:
    """The placeholders of a template, each with its formats."""
    found: dict[str, set[str]] = {}
    for _text, name, form, conversion in Formatter().parse(template):
        if name is not None:
            found.setdefault(name, set()).add(f"{conversion or ''}:{form}")
    return found


def wrong(text: str, translation: str) -> str:
    """What a translation does to the placeholders of its text, "" where nothing is wrong."""
    try:
        ours, theirs = fields(text), fields(translation)
    except ValueError as error:
        return str(error)
    if set(ours) != set(theirs):
        return f"{sorted(ours)} became {sorted(theirs)}"
    bad = [name for name in theirs if not theirs[name] <= ours[name]]
    return f"the format of {bad} is another one" if bad else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parts[-3])
def test_every_text_is_translated_and_no_translation_is_left_over(
    catalogue: ModuleType, path: Path
) -> None:
    known = {message.id: message.string for message in catalogue.read(path) if message.id}
    assert catalogue.texts() - set(known) == set()
    assert set(known) - catalogue.texts() == set()
    assert [text for text, translation in known.items() if not translation] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parts[-3])
def test_a_translation_has_the_placeholders_of_its_text(catalogue: ModuleType, path: Path) -> None:
    found = {each.id: wrong(each.id, each.string) for each in catalogue.read(path) if each.id}
    assert {text: problem for text, problem in found.items() if problem} == {}


def test_no_english_sentence_was_left_in_chinese(catalogue: ModuleType) -> None:
    command = r"`[^`]*`|(?:pip|rwkv-rag|chmod|chown) .*|https?:\S+|\{[^}]*\}"
    for each in catalogue.read(FILES[0]):
        words = re.findall(r"[a-z]{2,}(?: [a-z]{2,}){3,}", re.sub(command, "", each.string))
        assert not each.id or words == [], (each.id, each.string)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parts[-3])
def test_the_compiled_catalogue_is_its_source(catalogue: ModuleType, path: Path) -> None:
    assert path.with_suffix(".mo").read_bytes() == catalogue.compiled(catalogue.read(path))


def test_marked_texts_are_found_wherever_they_stand(catalogue: ModuleType) -> None:
    source = """
raise InputError("outer {x}", x=message("inner"))
fail("about", "text", N_("remedy"))
screen.say("a " "b", style="dim")
_(variable)
message.get("no text")
"""
    assert sorted(catalogue.marked(source)) == ["a b", "inner", "outer {x}", "remedy", "text"]


@pytest.mark.parametrize(
    ("text", "translation"),
    [("{a}", "{b}"), ("{a:.1f}", "{a}"), ("{a}", "{a"), ("{a!r}", "{a:.1f}"), ("{a} {b}", "{a}")],
)
def test_what_a_translation_may_not_do_is_found(text: str, translation: str) -> None:
    assert wrong(text, translation)
