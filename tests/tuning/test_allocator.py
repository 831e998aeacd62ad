"""Freed memory stays with a process that asks for it, and with no other."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import sys
import torch
from rwkv_rag.tuning.allocator import keep_freed_memory
def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = held()
torch.ones(7 << 20)  # 28 MB, given back at once
print(held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_stays_only_with_a_process_that_asks_for_it() -> None:
    def kept(mode: str) -> int:
        command = [sys.executable, "-c", SCRIPT, mode]
        return int(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)

    assert kept("give") < 10e6 < 25e6 < kept("keep")
