"""The server ends with one line where it cannot serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .conftest import backend as _backend  # noqa: F401  (skips this file without streamlit)


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "rwkv_rag.ui", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


def test_a_file_that_is_no_model_ends_the_server_before_it_serves(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"not a model")
    options = ("--home", str(tmp_path), "--model", str(tmp_path / "model.pth"), "--no-browser")
    ran = started(*options, "--lang", "zh")
    assert ran.returncode == 2 and "model.pth" in ran.stderr and "不是模型" in ran.stderr
    assert "http://" not in ran.stdout and "Traceback" not in ran.stderr
    assert len([line for line in ran.stderr.splitlines() if line.startswith("错误: ")]) == 1
