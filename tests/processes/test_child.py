"""A child ends when its supervisor is gone, whatever it is doing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rwkv_rag.processes import specs
from rwkv_rag.processes.specs import ProgramSpec, RouterSpec

from .running import python_path

CHILD = [sys.executable, "-m", "rwkv_rag.processes", "it"]


def child(tmp_path: Path, line: bytes) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        CHILD,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": python_path(tmp_path)},
    )
    assert process.stdin
    process.stdin.write(line)
    process.stdin.flush()
    return process


def test_a_child_that_is_told_nothing_ends(tmp_path: Path) -> None:
    assert child(tmp_path, b"").communicate(timeout=20) == (b"", None)


@pytest.mark.parametrize("line", [b"{}\n", b"no json\n", b'{"type": "king"}\n', b"[1]\n"])
def test_a_child_refuses_what_is_no_spec(tmp_path: Path, line: bytes) -> None:
    process = child(tmp_path, line)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out.count(b"\n") == 1
    assert str(specs.decode_error(out)).startswith("no order that a child process understands")


@pytest.mark.parametrize("how", ["stdin", "SIGTERM"])
def test_a_router_ends_in_order(tmp_path: Path, how: str) -> None:
    spec = RouterSpec("llm", "tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
    with child(tmp_path, specs.encode(spec)) as process:
        assert process.stdout and process.stdin
        assert b"clients at" in process.stdout.readline()
        if how == "SIGTERM":
            process.terminate()
        else:
            process.stdin.close()
        assert process.wait(20) == 0


def test_a_child_that_cannot_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import rwkv_rag.processes.child, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('deaf', flush=True)\n"
        "while True: time.sleep(60)\n"
    )
    (tmp_path / "deaf.py").write_text(program)
    (tmp_path / "sitecustomize.py").write_text(
        "import rwkv_rag.processes.child as child\nchild.on_end.__kwdefaults__['grace_s'] = 0.5\n"
    )
    with child(tmp_path, specs.encode(ProgramSpec("deaf"))) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == b"deaf\n"
        began = time.monotonic()
        process.stdin.close()
        assert process.wait(20) == 3
        assert time.monotonic() - began > 0.4
