from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rwkv_rag.errors import Busy, InputError
from rwkv_rag.knowledge import locks
from rwkv_rag.knowledge.locks import FileLock

from .conftest import Unprivileged

HOLD = """
import sys, time
from pathlib import Path
from rwkv_rag.knowledge.locks import FileLock
assert FileLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_holder_is_told_who_the_first_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "WAIT_S", 0.1)
    first, second = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
    assert first.acquire()
    with pytest.raises(Busy, match=f"indexing is not possible now: process {os.getpid()} "):
        second.require("indexing")
    first.release()
    second.require("indexing")
    assert second.held
    second.release()


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        lock = FileLock(path)
        assert not lock.acquire()
        holder.kill()
    assert lock.acquire(timeout_s=5)
    lock.release()


def test_a_lock_file_that_cannot_be_written_is_named_with_advice(
    tmp_path: Path, unprivileged: Unprivileged
) -> None:
    (tmp_path / "a.lock").mkdir()
    with pytest.raises(
        InputError, match=r"a\.lock cannot be opened for writing; .* \(Is a directory"
    ):
        FileLock(tmp_path / "a.lock").require("indexing")
    path = unprivileged.directory / "b.lock"
    path.touch(0o444)
    with unprivileged(), pytest.raises(InputError, match=r"--home \(Permission denied"):
        FileLock(path).require("indexing")
