"""Freed memory stays with a process that asks for it, and with no other."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from rwkv_rag.tuning.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
# A step: many blocks, all freed at its end.
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [torch.ones(1 << 20) for _ in range(12)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_is_not_asked_for_anew_in_each_step() -> None:
    def faults(mode: str) -> int:
        command = [sys.executable, "-c", SCRIPT, mode]
        return int(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)

    kept, usual = faults("keep"), faults("give")
    assert kept < 100 < usual
