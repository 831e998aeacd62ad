"""The run directory: one holder, private, and clean before and after."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rwkv_rag import run_directory
from rwkv_rag.errors import Busy, InputError
from rwkv_rag.run_directory import RunDirectory, Running


@pytest.fixture
def home() -> Iterator[Path]:
    """A data directory whose sockets have short paths."""
    with tempfile.TemporaryDirectory(prefix="rr-") as folder:
        yield Path(folder)


def test_a_home_has_one_holder(home: Path) -> None:
    first = RunDirectory(home)
    first.acquire()
    with pytest.raises(Busy, match=rf"run already, in process {os.getpid()}; see rwkv-rag status"):
        RunDirectory(home).acquire(timeout_s=0.1)
    first.release()
    second = RunDirectory(home)
    second.acquire()
    second.release()


def test_only_its_owner_sees_what_runs(home: Path) -> None:
    directory = RunDirectory(home)
    directory.acquire()
    directory.write(Running(7, "ipc:///x"))
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "run" / "services.json").stat().st_mode) == 0o600
    directory.release()


def test_what_runs_is_known_only_while_it_runs(home: Path) -> None:
    assert run_directory.running(home) is None and not run_directory.is_locked(home)
    directory = RunDirectory(home)
    directory.acquire()
    directory.write(Running(7, "ipc:///x"))
    assert run_directory.running(home) == Running(7, "ipc:///x")
    directory.release()
    assert run_directory.running(home) is None
    assert [path.name for path in (home / "run").iterdir()] == ["up.lock"]


def test_what_a_killed_holder_left_is_removed(home: Path) -> None:
    (home / "run").mkdir()
    left = [home / "run" / name for name in ("llm.front", "control.back", "services.json")]
    for path in left:
        path.write_text("old")
    directory = RunDirectory(home)
    directory.acquire()
    assert not any(path.exists() for path in left)
    directory.release()


def test_sockets_of_a_long_home_are_elsewhere_and_go_with_the_rest(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    directory = RunDirectory(home)
    directory.acquire()
    socket = Path(directory.socket("llm.front").removeprefix("ipc://"))
    assert socket.parent.parent == Path(tempfile.gettempdir())
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert directory.socket("llm.back") == f"ipc://{socket.parent}/llm.back"
    directory.write(Running(7, "ipc:///x"))
    socket.write_text("")
    directory.release()
    assert not socket.parent.exists()


def test_sockets_elsewhere_of_a_killed_holder_are_removed_by_the_next(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    killed = RunDirectory(home)
    killed.acquire()
    folder = Path(killed.socket("llm.front").removeprefix("ipc://")).parent
    killed._lock.release()  # as the kernel does
    assert folder.exists()
    again = RunDirectory(home)
    again.acquire()
    assert not folder.exists()
    again.release()


def test_what_is_written_is_read_back(home: Path) -> None:
    (home / "run").mkdir()
    written = Running(7, "ipc:///a", {"llm": "ipc:///b"}, api="http://x", server_key="/k")
    run_directory.services_file(home).write_text(written.json(), encoding="utf-8")
    assert run_directory.read(home) == written


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"pid": "7"}', '{"pid": 7, "services": {"llm": 3}}', "[" * 50_000),
        *('{"pid": 7, "api": 3}', '{"pid": 7, "services": []}', " " * 70_000 + '{"pid": 7}'),
        '{"pid": 7, "control": ""}' + " " * 70_000,
    ],
)
def test_a_file_of_another_kind_says_nothing(home: Path, content: str) -> None:
    (home / "run").mkdir()
    run_directory.services_file(home).write_text(content, encoding="utf-8")
    assert run_directory.read(home) is None


def test_a_home_without_services_says_nothing(home: Path) -> None:
    assert run_directory.read(home) is None


@pytest.mark.parametrize("strange", ["/", "/etc", "../..", "{tmp}/other"])
def test_nothing_else_is_removed_whatever_the_file_says(home: Path, strange: str) -> None:
    folder = home / "other"
    folder.mkdir()
    (folder / "precious").write_text("x")
    (home / "run").mkdir()
    told = Running(7, "", sockets=strange.format(tmp=home))
    run_directory.services_file(home).write_text(told.json())
    directory = RunDirectory(home)
    directory.acquire()
    directory.release()
    assert (folder / "precious").exists() and Path("/etc").exists()


def test_a_home_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(InputError, match=r"run cannot be used \(File exists\)"):
        RunDirectory(tmp_path).acquire()
