"""The run directory: one holder, private, and clean before and after."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from rwkv_rag.config import running as file
from rwkv_rag.config.running import Running
from rwkv_rag.errors import Busy, InputError
from rwkv_rag.processes import running
from rwkv_rag.processes.running import RunDirectory


def test_a_home_has_one_holder(home: Path) -> None:
    first = RunDirectory(home)
    first.take()
    with pytest.raises(Busy, match=rf"run already, in process {os.getpid()}; see rwkv-rag status"):
        RunDirectory(home).take()
    first.leave()
    second = RunDirectory(home)
    second.take()
    second.leave()


def test_only_its_owner_sees_what_runs(home: Path) -> None:
    directory = RunDirectory(home)
    directory.take()
    directory.tell(Running(7, "ipc:///x"))
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "run" / "services.json").stat().st_mode) == 0o600
    directory.leave()


def test_what_runs_is_known_only_while_it_runs(home: Path) -> None:
    assert running.running(home) is None and not running.held(home)
    directory = RunDirectory(home)
    directory.take()
    directory.tell(Running(7, "ipc:///x"))
    assert running.running(home) == Running(7, "ipc:///x")
    directory.leave()
    assert running.running(home) is None
    assert [path.name for path in (home / "run").iterdir()] == ["up.lock"]


def test_what_a_killed_holder_left_is_removed(home: Path) -> None:
    (home / "run").mkdir()
    left = [home / "run" / name for name in ("llm.front", "control.back", "services.json")]
    for path in left:
        path.write_text("old")
    directory = RunDirectory(home)
    directory.take()
    assert not any(path.exists() for path in left)
    directory.leave()


def test_sockets_of_a_long_home_are_elsewhere_and_go_with_the_rest(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    directory = RunDirectory(home)
    directory.take()
    socket = Path(directory.socket("llm.front").removeprefix("ipc://"))
    assert socket.parent.parent == Path(tempfile.gettempdir())
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert directory.socket("llm.back") == f"ipc://{socket.parent}/llm.back"
    directory.tell(Running(7, "ipc:///x"))
    socket.write_text("")
    directory.leave()
    assert not socket.parent.exists()


def test_sockets_elsewhere_of_a_killed_holder_are_removed_by_the_next(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    killed = RunDirectory(home)
    killed.take()
    folder = Path(killed.socket("llm.front").removeprefix("ipc://")).parent
    killed._lock.release()  # as the kernel does
    assert folder.exists()
    again = RunDirectory(home)
    again.take()
    assert not folder.exists()
    again.leave()


@pytest.mark.parametrize("strange", ["/", "/etc", "../..", "{tmp}/other"])
def test_nothing_else_is_removed_whatever_the_file_says(home: Path, strange: str) -> None:
    folder = home / "other"
    folder.mkdir()
    (folder / "precious").write_text("x")
    (home / "run").mkdir()
    told = Running(7, "", sockets=strange.format(tmp=home))
    file.services_file(home).write_text(told.json())
    directory = RunDirectory(home)
    directory.take()
    directory.leave()
    assert (folder / "precious").exists() and Path("/etc").exists()


def test_a_home_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(InputError, match=r"run cannot be used \(File exists\)"):
        RunDirectory(tmp_path).take()
