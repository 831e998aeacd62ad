"""The whole product as a user starts it: `rwkv-rag up`, a question in the browser, Ctrl-C.

The tests share one `rwkv-rag up`; the last one ends it.

`python tests/ui/test_up_browser.py PICTURE.png` takes the picture of the services page.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from rwkv_rag import app
from rwkv_rag.bus.keys import KeyStore
from rwkv_rag.config import Settings

if __package__ in (None, ""):  # for the picture
    from test_browser import DOCUMENTS, GARDEN, ask, browser, make_base, opened
else:
    from .test_browser import DOCUMENTS, GARDEN, ask, browser, make_base, opened

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
READY_S, END_S = 60.0, 30.0


class Up:
    """`rwkv-rag up` in a home and a temporary directory of its own, with what it wrote."""

    def __init__(self, folder: Path, *options: str, ports: tuple[int, int] | None = None) -> None:
        self.home, self.temporary = folder / "home", folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        self.before = left_in(self.temporary)
        self.port, self.api_port = ports or (free_port(), free_port())
        self.log = folder / f"up-{self.port}.log"
        program = "from rwkv_rag.cli import main; main()"
        line = [sys.executable, "-c", program, "up", "--home", str(self.home)]
        line += ["--lang", "en", "--no-browser", *options]
        line += ["--port", str(self.port), "--api-port", str(self.api_port)]
        environ = {**os.environ, "HOME": str(folder), "TMPDIR": str(self.temporary)}
        environ |= {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                line, env=environ, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.family = [psutil.Process(self.process.pid)]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def wait_until_ready(self) -> None:
        wait(lambda: "ready; Ctrl-C" in self.said, READY_S, self)
        self.look()

    def look(self) -> None:
        """Find the processes that run now."""
        self.family = [self.family[0], *self.family[0].children(recursive=True)]

    def interrupt(self) -> int:
        """Ctrl-C, as a terminal sends it to the whole group's first process."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(END_S)

    def end(self) -> None:
        """Leave nothing behind, whatever the test made of it."""
        for each in self.family:
            with suppress(psutil.Error):
                each.kill()
        self.process.wait(END_S)


def wait(condition: Any, limit_s: float, up: Up) -> None:
    """Until `condition` is true; what was written is the message where it never is."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert up.process.poll() is None and time.monotonic() < deadline, up.said
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def left_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def running_on(home: Path) -> list[str]:
    """Every process of this machine that names `home` in its arguments."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(home) in line:
            found.append(line)
    return found


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def started(folder: Path, *options: str) -> Iterator[Up]:
    up = Up(folder, *options)
    try:
        up.wait_until_ready()
        yield up
    finally:
        up.end()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A directory of its own with a short name, as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="rag-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def up(folder: Path) -> Iterator[Up]:
    pytest.importorskip("streamlit", reason="the pages need streamlit")
    pytest.importorskip("fastapi", reason="the API needs fastapi")
    with started(folder) as up:
        yield up


@pytest.fixture
def page(chromium: Any, up: Up) -> Iterator[Any]:
    with opened(chromium, up.address) as page:
        yield page


def ask_about_the_gates(page: Any, answers: int) -> None:
    ask(page, "When do the gates close from April to September?", answers)
    mark = page.locator("mark").last
    mark.wait_for()
    assert "close at nine in the evening" in mark.inner_text()


def open_services(page: Any) -> None:
    page.get_by_role("link", name="Services").click()
    page.get_by_role("button", name="llm").wait_for()


def test_a_worker_that_dies_in_a_chat_is_one_line_and_the_next_question_works(
    up: Up, page: Any
) -> None:
    make_base(page, "handbooks", [DOCUMENTS / GARDEN])
    page.get_by_role("link", name="Chat").click()
    worker = next(each for each in up.family if holds_the_model(each))
    worker.kill()
    box = page.get_by_placeholder("Your question")
    box.fill("When do the gates close from April to September?")
    box.press("Enter")
    page.locator("[data-testid=stChatMessage] >> .rag-note, [data-testid=stAlert]").first.wait_for()
    assert page.locator("[data-testid=stException]").count() == 0
    wait(lambda: "llm-1: ready" in up.said.split("it is started again")[-1], READY_S, up)
    ask_about_the_gates(page, page.locator(".rag-note").count() + 1)
    assert "Traceback" not in up.said


def holds_the_model(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any("model.safetensors" in each.path for each in process.memory_maps())
    return False


def test_a_used_port_is_named_with_the_program_that_holds_it(up: Up, folder: Path) -> None:
    up.look()
    (folder / "second").mkdir()
    second = Up(folder / "second", ports=(up.port, free_port()))
    try:
        assert second.process.wait(READY_S) == 2
        [line] = [line for line in second.said.splitlines() if line.startswith("error: ")]
        assert str(up.port) in line and "python" in line, line
        holder = next(each.pid for each in up.family if owns_port(each, up.port))
        assert str(holder) in line
        assert running_on(second.home) == [] and "Traceback" not in second.said
    finally:
        second.end()


def test_services_that_ask_for_keys_are_seen_by_those_on_their_home(folder: Path) -> None:
    other = folder / "with-keys"
    home = other / "home"
    other.mkdir()
    KeyStore(home).make()
    end = f"{{protocol: tcp, host: 0.0.0.0, port: {free_port()}}}"
    (home / "ragq.yml").write_text(f"llm: {{front_end: {end}}}\n")
    with (
        started(other, "--only", "llm,tuning", "--model", "fake") as up,
        app.open_client(Settings(home=home, named=False)) as client,
    ):
        assert client.supervision is not None
        states = {each.name: each.state for each in client.supervision.status()}
        assert states == {"llm": "ready", "tuning": "ready"}
        assert [writer.name for writer in client.models.writers()] == ["fake"]
        assert up.interrupt() == 0, up.said


def test_a_question_is_answered_and_ctrl_c_leaves_nothing(up: Up, page: Any) -> None:
    make_base(page, "gates", [DOCUMENTS / GARDEN])
    page.get_by_role("link", name="Chat").click()
    ask_about_the_gates(page, 1)
    open_services(page)
    up.look()
    assert up.interrupt() == 0, up.said
    assert "Traceback" not in up.said
    gone, alive = psutil.wait_procs(up.family, timeout=5)
    assert alive == [] and len(gone) >= 9  # three routers and workers, API, pages, and itself
    assert running_on(up.home) == []
    assert not listens(up.port) and not listens(up.api_port)
    assert left_in(up.temporary) == up.before
    assert left_in(up.home / "run") <= {"up.lock"}


def owns_port(process: psutil.Process, port: int) -> bool:
    connections = process.net_connections(kind="tcp")
    return any(each.laddr.port == port and each.status == "LISTEN" for each in connections)


def take_picture(picture: Path, folder: Path) -> None:
    """The services after a few questions."""
    with started(folder) as up, browser(up.address) as page:
        page.set_viewport_size({"width": 1280, "height": 900})
        make_base(page, "handbooks", sorted(DOCUMENTS.iterdir()))
        page.get_by_role("link", name="Chat").click()
        ask(page, "What is the annual fee for a plot?", 1)
        ask(page, "When do the gates close from April to September?", 2)
        open_services(page)
        page.wait_for_timeout(3000)
        page.screenshot(path=str(picture))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rag-", ignore_cleanup_errors=True) as folder:
        take_picture(Path(sys.argv[1]), Path(folder))
