"""The server as a process of its own: begins, answers, ends in order, says what is wrong."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from rwkv_rag.api import server
from rwkv_rag.api.__main__ import main
from rwkv_rag.api.options import Options, token_file
from rwkv_rag.errors import Busy, InputError

from .serving import until


@contextmanager
def process(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m rwkv_rag.api` and the address it listens on."""
    command = [sys.executable, "-m", "rwkv_rag.api", "--home", str(home), "--model", "fake"]
    command += ["--port", "0", "--connect", "off", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as started:
        try:
            assert started.stderr is not None
            line = started.stderr.readline()
            match = re.fullmatch(r"listening on (http://.+)\n", line)
            assert match, line
            yield started, match[1]
        finally:
            started.kill()


def test_a_server_answers_and_ends_in_order(tmp_path: Path) -> None:
    with process(tmp_path / "home") as (started, url):
        with httpx.Client(base_url=url, trust_env=False) as client:
            until(lambda: client.get("/ready").status_code == 200)
            assert client.get("/v1/models").status_code == 200
        ends_in_order(started, signal.SIGTERM)


def test_on_an_open_address_a_token_is_made_and_needed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with process(home, "--host", "0.0.0.0") as (started, url):
        address = url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=address, trust_env=False) as client:
            assert client.get("/health").status_code == 200
            assert client.get("/v1/models").status_code == 401
            token = token_file(home).read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            assert client.get("/v1/models", headers=headers).status_code == 200
        ends_in_order(started, signal.SIGINT)
    if os.name == "posix":
        assert token_file(home).stat().st_mode & 0o777 == 0o600


def ends_in_order(started: subprocess.Popen[str], how: signal.Signals) -> None:
    started.send_signal(how)
    _, rest = started.communicate(timeout=15)
    assert started.returncode in (0, -how), rest
    assert "Traceback" not in rest


def test_an_error_is_one_line_in_the_users_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--home", str(tmp_path), "--lang", "zh", "--port", "0", "--connect", "off"]
    arguments += ["--model", str(tmp_path / "none.pth")]
    monkeypatch.setattr(sys, "argv", ["api", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("错误: ")
    assert "none.pth" in line and re.search("[\u4e00-\u9fff]{4}", line)


def test_a_used_port_and_a_foreign_address_are_errors() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Busy, match=f"port {port} is used"):
            server.bound_socket(Options(port=port))
    with pytest.raises(InputError, match=r"cannot listen on 192\.0\.2\.1"):
        server.bound_socket(Options(host="192.0.2.1", token="x" * 20, port=0))
    with pytest.raises(InputError, match="no address of this machine"):
        server.bound_socket(Options(host="no.such.host.invalid", token="x" * 20, port=0))


def test_the_address_is_one_for_a_browser() -> None:
    with closing(server.bound_socket(Options(host="::1", port=0))) as listener:
        assert re.fullmatch(r"http://\[::1\]:\d+", server.url(listener))
