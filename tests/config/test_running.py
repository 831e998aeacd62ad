"""What runs is read from a file that others write: only what we wrote counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from rwkv_rag.config import running
from rwkv_rag.config.running import Running


def test_what_is_told_is_read_back(tmp_path: Path) -> None:
    running.run_directory(tmp_path).mkdir()
    told = Running(7, "ipc:///a", {"llm": "ipc:///b"}, api="http://x", server_key="/k")
    running.services_file(tmp_path).write_text(told.json(), encoding="utf-8")
    assert running.read(tmp_path) == told


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"pid": "7"}', '{"pid": 7, "services": {"llm": 3}}', "[" * 50_000),
        *('{"pid": 7, "api": 3}', '{"pid": 7, "services": []}', " " * 70_000 + '{"pid": 7}'),
    ],
)
def test_a_file_of_another_kind_says_nothing(tmp_path: Path, content: str) -> None:
    running.run_directory(tmp_path).mkdir()
    running.services_file(tmp_path).write_text(content, encoding="utf-8")
    assert running.read(tmp_path) is None


def test_a_home_without_services_says_nothing(tmp_path: Path) -> None:
    assert running.read(tmp_path) is None
