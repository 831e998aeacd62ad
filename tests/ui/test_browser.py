"""The whole way in a real browser: make a base, upload, ask, see the quote marked.

`python tests/ui/test_browser.py PICTURE.png [MODEL]` takes the picture that the README shows.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rwkv_rag

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DOCUMENTS = Path(rwkv_rag.__file__).parent / "demo" / "documents"
GARDEN, MANUAL = "harbour-street-garden-handbook.txt", "云雀L3空气净化器使用手册.md"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server of all tests here, with stand-ins for models."""
    pytest.importorskip("streamlit", reason="the pages need streamlit")
    with served(tmp_path_factory.mktemp("pages") / "home", model="fake") as address:
        yield address


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """A page whose browser asks for English."""
    with opened(chromium, address) as page:
        yield page


@contextmanager
def served(home: Path, *, model: str) -> Iterator[str]:
    """`rwkv-rag ui` on a free port, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    line = [sys.executable, "-m", "rwkv_rag.ui", "--home", str(home), "--model", model]
    line += ["--lang", "en", "--no-browser", "--port", str(port)]
    environ = {**os.environ, "HOME": str(home.parent)}  # no settings of the user's own
    server = subprocess.Popen(line, env=environ, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None, "the server ended by itself"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not start within 30 s")


@contextmanager
def launched() -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def opened(chromium: Any, address: str, locale: str = "en-US") -> Iterator[Any]:
    """A page at `address`, as a new user with this locale sees it."""
    page = chromium.new_page(
        viewport={"width": 1280, "height": 860}, device_scale_factor=1.5, locale=locale
    )
    try:
        page.set_default_timeout(30_000)
        page.goto(address)
        yield page
    finally:
        page.close()


@contextmanager
def browser(address: str) -> Iterator[Any]:
    """A page of a Chromium of its own."""
    with launched() as chromium, opened(chromium, address) as page:
        yield page


def make_base(page: Any, name: str, files: list[Path]) -> None:
    page.get_by_role("link", name="Knowledge").click()
    form = page.locator("details", has_text="New knowledge base")
    if form.get_attribute("open") is None:  # folded where there is a base already
        form.locator("summary").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Create").click()
    page.get_by_text(f"Created {name}").wait_for()
    page.locator("input[type=file]").set_input_files([str(file) for file in files])
    page.get_by_role("button", name="Index", exact=True).click()
    page.get_by_text(f"{len(files)} indexed").wait_for()


def ask(page: Any, question: str, answers: int) -> None:
    box = page.get_by_placeholder("Your question")
    box.fill(question)
    box.press("Enter")
    page.locator(".rag-note").nth(answers - 1).wait_for()


def test_a_newcomer_makes_a_base_uploads_a_file_and_sees_the_quote(page: Any) -> None:
    make_base(page, "handbooks", [DOCUMENTS / GARDEN])
    page.get_by_role("link", name="Chat").click()
    ask(page, "When do the gates close from April to September?", 1)
    mark = page.locator("mark").first
    mark.wait_for()
    assert "close at nine in the evening" in mark.inner_text()


@pytest.mark.parametrize(
    ("locale", "title"), [("zh-CN", "问答"), ("en-GB", "Chat"), ("fr", "Chat")]
)
def test_a_page_opens_in_the_language_the_browser_asks_for(
    chromium: Any, address: str, locale: str, title: str
) -> None:
    with opened(chromium, address, locale) as page:
        page.get_by_role("link", name=title).wait_for()


def chosen(page: Any) -> list[bool]:
    """Which of the radio buttons on the page are set, once it has been drawn."""
    page.wait_for_timeout(1000)
    return [button.is_checked() for button in page.locator("[data-testid=stRadio] input").all()]


def test_another_language_keeps_what_was_chosen(page: Any) -> None:
    make_base(page, "languages", [DOCUMENTS / GARDEN])
    page.get_by_role("link", name="Chat").click()
    page.get_by_text("Quotes only", exact=True).wait_for()
    page.get_by_text("中文").click()
    page.get_by_text("只引原文", exact=True).wait_for()
    assert chosen(page) == [True, False]
    page.get_by_text("自由回答", exact=True).click()
    page.get_by_text("English").click()
    page.get_by_text("Quotes only", exact=True).wait_for()
    assert chosen(page) == [False, True]
    page.get_by_role("link", name="Tuning").click()
    page.get_by_text("Upload a file").click()
    page.get_by_text("中文").click()
    page.get_by_text("上传文件").wait_for()
    assert chosen(page) == [False, True, False]


def take_picture(picture: Path, home: Path, model: str) -> None:
    """Two questions over the demonstration's documents, as the README shows them."""
    with served(home, model=model) as address, browser(address) as page:
        page.set_viewport_size({"width": 1280, "height": 1160})
        make_base(page, "handbooks", sorted(DOCUMENTS.iterdir()))
        page.get_by_role("link", name="Chat").click()
        ask(page, "What is the annual fee for a plot?", 1)
        page.locator("summary").first.click()  # fold the first source away
        ask(page, "处理不满十四周岁未成年人的个人信息，应当取得谁的同意？", 2)
        page.wait_for_timeout(2000)
        page.screenshot(path=str(picture))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rwkv-rag-picture-") as folder:
        take_picture(Path(sys.argv[1]), Path(folder) / "home", (sys.argv[2:] or ["builtin"])[0])
