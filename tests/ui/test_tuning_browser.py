"""The whole way in a real browser: rows from a base, a short tuning, and a question to its result.

`python tests/ui/test_tuning_browser.py PICTURE.png` takes the picture that the documents show.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if __name__ == "__main__":  # for the picture
    from test_browser import DOCUMENTS, GARDEN, ask, browser, make_base, opened, served
else:
    from .test_browser import DOCUMENTS, GARDEN, ask, browser, make_base, opened, served

QUATRAINS = Path(__file__).parents[2] / "examples" / "quatrains.jsonl"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def page(chromium: Any, home: Path) -> Iterator[Any]:
    """A browser page on a server of its own, with the model in the package."""
    for name in ("streamlit", "peft", "lightning_fabric"):
        pytest.importorskip(name, reason="this test needs the extras ui, tune and dev")
    with served(home, model="builtin") as address, opened(chromium, address) as page:
        page.set_default_timeout(60_000)  # three processes share the machine here
        yield page


def number(page: Any, label: str, value: int) -> None:
    box = page.get_by_label(label, exact=True)
    box.fill(str(value))
    box.press("Enter")


def press(page: Any, label: str) -> None:
    page.get_by_role("button", name=label).click()


def edit_first_question(page: Any, question: str) -> None:
    """Type into the first cell of the table, which is drawn on a canvas."""
    table = page.get_by_test_id("stDataFrame")
    table.wait_for()
    place = table.bounding_box()
    page.mouse.dblclick(place["x"] + 150, place["y"] + 52)
    cell = page.locator("#portal textarea, #portal input").first
    cell.fill(question)
    cell.press("Enter")
    page.wait_for_timeout(500)  # until the table has told the server


def make_rows(page: Any, count: int) -> None:
    page.get_by_role("link", name="Tuning").click()
    number(page, "Number of rows", count)
    press(page, "Make rows")
    page.get_by_role("button", name="Use these rows").wait_for()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_newcomer_tunes_on_a_base_and_asks_the_result(page: Any, home: Path) -> None:
    from playwright.sync_api import expect

    make_base(page, "handbooks", [DOCUMENTS / GARDEN])
    make_rows(page, 12)
    edit_first_question(page, "When do the gates close?")
    press(page, "Use these rows")
    page.get_by_label("Name of the result").wait_for()
    text = (home / "rows" / "handbooks.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert len(rows) == 12 and rows[0]["question"] == "When do the gates close?"
    number(page, "Steps", 8)
    page.get_by_text("Options", exact=True).click()
    number(page, "Context (tokens)", 128)
    page.get_by_text("Memory needed").wait_for()
    press(page, "Start")
    page.get_by_role("button", name="Use in chat").first.wait_for()
    expect(page.get_by_text("done · step 8 of 8")).to_have_count(1)
    page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first.wait_for()
    press(page, "Use in chat")
    ask(page, "What is the annual fee for a plot?", 1)
    assert page.get_by_role("combobox", name="Tuned memory").input_value() == "handbooks-state"
    assert (home / "tuned" / "handbooks-state" / "state.safetensors").exists()


def take_picture(picture: Path, home: Path) -> None:
    """An adapter beside a state, both tuned to the quatrains of the examples for 200 steps."""
    with served(home, model="builtin") as address, browser(address) as page:
        page.set_default_timeout(300_000)
        page.set_viewport_size({"width": 1280, "height": 1130})
        page.get_by_role("link", name="Tuning").click()
        page.get_by_text("A file on this machine").click()
        box = page.get_by_label("Path of a .jsonl")
        box.fill(str(QUATRAINS))
        box.press("Enter")
        press(page, "Read")
        press(page, "Use these rows")
        for method in ("Memory state", "LoRA"):
            page.get_by_text("2 · Method").click()
            page.get_by_text(method, exact=True).click()
            page.get_by_text("Memory needed").wait_for()
            press(page, "Start")
            page.get_by_role("button", name="Stop").wait_for()
            page.get_by_role("button", name="Use in chat").first.wait_for()
        page.get_by_role("combobox", name="Compare with").click()
        page.get_by_role("option").nth(1).click()
        page.wait_for_timeout(3000)
        page.screenshot(path=str(picture))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rwkv-rag-picture-") as folder:
        take_picture(Path(sys.argv[1]), Path(folder) / "home")
