"""The translation catalogues: complete, free of leftovers, and consistent with the source."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from string import Formatter

import pytest
from babel.messages import Catalog

from rwkv_rag.i18n import DOMAIN, FOLDER, LOCALES

sys.path.append(str(Path(__file__).parent.parent / "scripts"))
import catalogue

PATHS = [FOLDER / locale / "LC_MESSAGES" / f"{DOMAIN}.po" for locale in LOCALES.values()]


@pytest.fixture(scope="module")
def texts() -> set[str]:
    return catalogue.texts()


@pytest.fixture(scope="module", params=PATHS, ids=lambda path: path.parts[-3])
def catalog(request: pytest.FixtureRequest) -> Catalog:
    return catalogue.read(request.param)


def pairs(catalog: Catalog) -> dict[str, str]:
    return {str(each.id): str(each.string) for each in catalog if each.id}


def fields(template: str) -> set[tuple[str, str, str]]:
    """The placeholders with their formats; a text with other braces has none."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        return set()
    return {(name, spec or "", how or "") for _, name, spec, how in parts if name is not None}


def test_every_text_is_translated_and_nothing_else_is_there(
    catalog: Catalog, texts: set[str]
) -> None:
    known = pairs(catalog)
    assert texts - known.keys() == set()
    assert known.keys() - texts == set()
    assert [text for text, translation in known.items() if not translation.strip()] == []


def test_both_sides_have_the_same_placeholders(catalog: Catalog) -> None:
    for text, translation in pairs(catalog).items():
        names = {name for name, _, _ in fields(text)}
        assert {name for name, _, _ in fields(translation)} == names, text
        values = dict.fromkeys(names, 1)
        assert not names or translation.format(**values), text


def test_the_compiled_catalogue_is_the_readable_one() -> None:
    for path in PATHS:
        assert path.with_suffix(".mo").read_bytes() == catalogue.compiled(catalogue.read(path))


def test_no_english_sentence_was_left_in_chinese() -> None:
    command = r"`[^`]*`|(?:pip|rwkv-rag|chmod|chown) .*|https?:\S+|\{[^}]*\}"
    for text, translation in pairs(catalogue.read(PATHS[0])).items():
        words = re.findall(r"[a-z]{2,}(?: [a-z]{2,}){3,}", re.sub(command, "", translation))
        assert words == [], (text, translation)
