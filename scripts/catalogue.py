"""Collect all texts for people from the source and bring the translation catalogues up to date.

    make messages          new texts are added untranslated, unused ones are dropped

Then translate what is empty in `src/rwkv_rag/locale/*/LC_MESSAGES/rwkv_rag.po` and run it again,
which also compiles the .mo files that lie beside. `tests/test_catalogue.py` fails until both fit.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from rwkv_rag import errors
from rwkv_rag.i18n import DOMAIN, FOLDER, LOCALES

SOURCE = FOLDER.parent
ERRORS = [name for name, kind in vars(errors).items() if getattr(kind, "code", None)]
MARKS = {  # functions by the argument that is a text for people
    **dict.fromkeys(("_", "N_", "message", "Message", *ERRORS), 1),
    **dict.fromkeys(("say", "note", "confirm", "progress"), 1),  # of the commands' screen
    **dict.fromkeys(("ok", "warn", "fail"), 2),  # of diagnosis
    "finding": 3,
}


def texts() -> set[str]:
    """Every text for people in the source."""
    found = {text for path in SOURCE.rglob("*.py") for text in marked(path.read_text("utf-8"))}
    return found | set(_help())


def marked(source: str) -> Iterator[str]:
    """The texts that are arguments of the functions in `MARKS` and of errors."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        text = dict(enumerate(node.args, 1)).get(MARKS.get(name, 0))
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value:
            yield text.value


def read(path: Path) -> Catalog:
    """The catalogue in a .po file; an empty one where there is none."""
    locale = path.parts[-3]
    if not path.exists():
        return Catalog(locale=locale, domain=DOMAIN)
    with path.open("rb") as file:
        return read_po(file, locale=locale, domain=DOMAIN)


def compiled(catalogue: Catalog) -> bytes:
    """The .mo of a catalogue."""
    out = io.BytesIO()
    write_mo(out, catalogue)
    return out.getvalue()


def update(path: Path) -> list[str]:
    """Rewrite a .po file and its .mo with the texts of today; those without a translation."""
    old, new = read(path), Catalog(locale=path.parts[-3], domain=DOMAIN, fuzzy=False)
    new.revision_date = new.creation_date = old.creation_date
    for text in sorted(texts()):
        known = old.get(text)
        new.add(text, string=known.string if known else "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, new, width=96, no_location=True, omit_header=False)
    path.with_suffix(".mo").write_bytes(compiled(new))
    return [message.id for message in new if message.id and not message.string]


def _help() -> Iterator[str]:
    """The help of every command and option, which typer takes from docstrings and arguments."""
    from rwkv_rag.cli.main import commands

    waiting = [commands()]
    while waiting:
        command = waiting.pop()
        waiting.extend(getattr(command, "commands", {}).values())
        yield from filter(None, (command.help, *(getattr(p, "help", "") for p in command.params)))


if __name__ == "__main__":
    for locale in LOCALES.values():
        for text in update(FOLDER / locale / "LC_MESSAGES" / f"{DOMAIN}.po"):
            print(f"{locale}: not translated: {text!r}")
