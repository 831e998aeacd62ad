"""`rwkv-rag api` as a user starts it: a real process, ended by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Cli, english_left

pytest.importorskip("fastapi", reason="the API needs fastapi: pip install 'rwkv-rag[api]'")


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX's")
def test_the_api_is_served_until_ctrl_c(tmp_path: Path) -> None:
    program = "import sys; from rwkv_rag.cli.main import run; sys.exit(run(sys.argv[1:]))"
    line = [sys.executable, "-c", program, "api", "--home", str(tmp_path / "home")]
    line += ["--model", "fake", "--port", "0", "--connect", "off", "--folder", str(tmp_path)]
    with subprocess.Popen(
        line, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        try:
            assert started.stderr is not None
            said = started.stderr.readline()
            assert re.fullmatch(r"listening on http://127\.0\.0\.1:\d+\n", said), said
            os.killpg(started.pid, signal.SIGINT)  # as a terminal does: all of them hear it
            _, rest = started.communicate(timeout=20)
        finally:
            started.kill()
    assert started.returncode == 0, rest
    assert "Traceback" not in rest


def test_a_model_that_is_not_there_is_said_before_anything_begins(cli: Cli, tmp_path: Path) -> None:
    ran = cli("api", "--model", tmp_path / "none.pth")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "none.pth" in ran.err


def test_what_is_missing_is_said_with_what_installs_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rwkv_rag.cli.servers.find_spec", lambda name: None)
    ran = cli("api", "--lang", "zh")
    assert ran.code == 2 and "pip install 'rwkv-rag[api]'" in ran.err
    assert not english_left(ran.err)
