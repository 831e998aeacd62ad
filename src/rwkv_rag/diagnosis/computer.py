"""The machine: Python, torch, the GPU, memory, disk, clock. Knows no data and no service."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rwkv_rag.diagnosis.finding import Finding, State, fail, finding, ok, warn
from rwkv_rag.i18n import N_

LITTLE_DISK, MAKE_SPACE = N_("only {free} free at {folder}"), N_("make room on this disk")
GPU = N_("{name}: {free} of {total} free; it is used for fine-tuning")
MEMORY = N_("{free} of {total} free; the largest RWKV-7 that fits: {bf16} in bf16, {fp32} in fp32")
OLDEST_PYTHON = (3, 10)
SCARCE_MEMORY, LEAST_MEMORY = 1_500_000_000, 600_000_000
SCARCE_DISK, LEAST_DISK = 2_000_000_000, 200_000_000
AHEAD_S = 86_400.0
RELEASED = {  # parameters of the RWKV-7 G1 models
    "0.1B": 191_034_624,
    "0.4B": 450_767_872,
    "1.5B": 1_527_404_544,
    "2.9B": 2_947_735_040,
    "7.2B": 7_199_141_888,
    "13.3B": 13_269_245_952,
}
BYTES = {"bf16": 2, "fp32": 4}
WORKING = 1.1  # states of the answers being written and what a step computes, beside the weights


def python() -> Iterator[Finding]:
    """The interpreter and the system."""
    old = sys.version_info < OLDEST_PYTHON or sys.maxsize < 2**32
    remedy = N_("install a 64-bit Python of version 3.10 or later") if old else ""
    judged, version = fail if old else ok, platform.python_version()
    system = platform.platform()
    yield judged(
        "python", N_("Python {version} on {system}"), remedy, version=version, system=system
    )


def torch() -> Iterator[Finding]:
    """Whether torch loads, how it computes, and the GPUs it sees."""
    try:
        import torch
    except Exception as error:  # a library of the system may be missing: OSError and others
        why = " ".join(str(error).split()) or type(error).__name__
        again = "pip install --force-reinstall torch"
        yield fail("torch", "torch cannot be loaded: {why}", again, why=why)
        return
    yield ok(
        "torch",
        "torch {version} on the CPU, {threads} threads of {cores} cores",
        version=torch.__version__,
        threads=torch.get_num_threads(),
        cores=os.cpu_count() or 1,
    )
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            yield _memory("gpu", GPU, free, name=name, total=gigabytes(total))
    elif shutil.which("nvidia-smi"):
        yield warn(
            "gpu",
            "there is an NVIDIA driver, but this torch cannot use it",
            N_("install torch for your CUDA version: https://pytorch.org/get-started/locally"),
        )
    else:
        yield ok("gpu", "no GPU; everything runs on the CPU")


def memory() -> Iterator[Finding]:
    """Free memory against what the released models need."""
    import psutil
    import torch

    from rwkv_rag.tuning.memory import available_bytes

    total = gigabytes(psutil.virtual_memory().total)
    yield _memory("memory", MEMORY, available_bytes(torch.device("cpu")), total=total)


def disk(home: Path) -> Iterator[Finding]:
    """Space where the data lies and where temporary files go."""
    for about, folder in (("disk", home), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(_existing(folder)).free
        space = gigabytes(free)
        if free >= SCARCE_DISK:
            yield ok(about, "{free} free at {folder}", free=space, folder=folder)
        else:
            judged = fail if free < LEAST_DISK else warn
            yield judged(about, LITTLE_DISK, MAKE_SPACE, free=space, folder=folder)


def clock(home: Path) -> Iterator[Finding]:
    """Files of the data directory from the future mean that the clock is, or was, wrong."""
    newest = max((_changed(path) for path in (home, *home.glob("*"))), default=0.0)
    now = time.strftime("%Y-%m-%d %H:%M")
    if newest <= time.time() + AHEAD_S:
        yield ok("clock", "the clock says {now}", now=now)
        return
    yield warn(
        "clock",
        "the clock says {now}, and the data directory was changed at {then}",
        N_("set the clock of this machine"),
        now=now,
        then=time.strftime("%Y-%m-%d %H:%M", time.localtime(newest)),
    )


def gigabytes(size: int) -> str:
    """ "13.4 GB"."""
    return f"{size / 1e9:.1f} GB"


def needed_bytes(parameters: int, precision: str) -> int:
    """What it takes to run a model in "bf16" or "fp32"."""
    return int(parameters * BYTES[precision] * WORKING)


def largest(free_bytes: int, precision: str) -> str:
    """The largest released model that fits into so much memory; a dash where none does."""
    sizes = {name: needed_bytes(parameters, precision) for name, parameters in RELEASED.items()}
    return ["–", *(name for name, size in sizes.items() if size <= free_bytes)][-1]


def _memory(about: str, template: str, free: int, **values: object) -> Finding:
    """Free memory of the machine or a GPU, with what each released model needs."""
    state: State = "ok"
    if free < SCARCE_MEMORY:
        state = "fail" if free < LEAST_MEMORY else "warn"
    fits = {precision: largest(free, precision) for precision in BYTES}
    remedy = "" if state == "ok" else N_("close other programs")
    values |= {"free": gigabytes(free), **fits}
    return finding(state, about, template, remedy, table=_table(free), **values)


def _table(free: int) -> tuple[tuple[str, ...], ...]:
    lines = [("RWKV-7", *BYTES, N_("fits"))]
    for name, parameters in RELEASED.items():
        needed = {precision: needed_bytes(parameters, precision) for precision in BYTES}
        fits = " ".join(each for each, bytes in needed.items() if bytes <= free)
        lines.append((name, *map(gigabytes, needed.values()), fits or "–"))
    return tuple(lines)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0
