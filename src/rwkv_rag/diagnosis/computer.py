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

from rwkv_rag.diagnosis.finding import Finding, State, fail, ok, warn
from rwkv_rag.diagnosis.sizes import BYTES, RELEASED, largest
from rwkv_rag.i18n import N_

OLDEST_PYTHON = (3, 10)
SCARCE_MEMORY, LEAST_MEMORY = 1_500_000_000, 600_000_000
SCARCE_DISK, LEAST_DISK = 2_000_000_000, 200_000_000
AHEAD_S = 86_400.0


def python() -> Iterator[Finding]:
    """The interpreter and the system."""
    values = {"version": platform.python_version(), "system": platform.platform()}
    if sys.version_info < OLDEST_PYTHON or sys.maxsize < 2**32:
        advice = N_("install a 64-bit Python of version 3.10 or later")
        yield fail("python", N_("Python {version} on {system}"), advice, **values)
        return
    yield ok("python", N_("Python {version} on {system}"), **values)


def torch() -> Iterator[Finding]:
    """Whether torch loads, how it computes, and the GPUs it sees."""
    try:
        import torch
    except Exception as error:  # a library of the system may be missing: OSError and others
        advice = N_("pip install --force-reinstall torch")
        yield fail("torch", N_("torch cannot be loaded: {why}"), advice, why=_line(error))
        return
    values = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count() or 1,
    }
    yield ok(
        "torch", N_("torch {version} on the CPU, {threads} threads of {cores} cores"), **values
    )
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            yield _room(
                "gpu",
                N_("{name}: {free} of {total} free; it is used for fine-tuning"),
                free,
                name=torch.cuda.get_device_name(number),
                total=gigabytes(total),
            )
    elif shutil.which("nvidia-smi"):
        advice = N_("install torch for your CUDA version: https://pytorch.org/get-started/locally")
        yield warn("gpu", N_("there is an NVIDIA driver, but this torch cannot use it"), advice)
    else:
        yield ok("gpu", N_("no GPU; everything runs on the CPU"))


def memory() -> Iterator[Finding]:
    """Free memory against what the released models need."""
    import psutil
    import torch

    from rwkv_rag.tuning.memory import available_bytes

    free = available_bytes(torch.device("cpu"))
    text = N_(
        "{free} of {total} free; the largest RWKV-7 that fits: {bf16} in bf16, {fp32} in fp32"
    )
    yield _room("memory", text, free, total=gigabytes(psutil.virtual_memory().total))


def disk(home: Path) -> Iterator[Finding]:
    """Room where the data lies and where temporary files go."""
    for about, folder in (("disk", home), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(_existing(folder)).free
        values = {"free": gigabytes(free), "folder": folder}
        if free >= SCARCE_DISK:
            yield ok(about, N_("{free} free at {folder}"), **values)
            continue
        judge = fail if free < LEAST_DISK else warn
        yield judge(
            about, N_("only {free} free at {folder}"), N_("make room on this disk"), **values
        )


def clock(home: Path) -> Iterator[Finding]:
    """Files of the data directory from the future mean that the clock is, or was, wrong."""
    newest = max((_changed(path) for path in (home, *home.glob("*"))), default=0.0)
    now = time.strftime("%Y-%m-%d %H:%M")
    if newest > time.time() + AHEAD_S:
        then = time.strftime("%Y-%m-%d %H:%M", time.localtime(newest))
        text = N_("the clock says {now}, and the data directory was changed at {then}")
        yield warn("clock", text, N_("set the clock of this machine"), now=now, then=then)
        return
    yield ok("clock", N_("the clock says {now}"), now=now)


def gigabytes(size: int) -> str:
    """ "13.4 GB"."""
    return f"{size / 1e9:.1f} GB"


def _room(about: str, text: str, free: int, **values: object) -> Finding:
    state: State = "ok"
    if free < SCARCE_MEMORY:
        state = "fail" if free < LEAST_MEMORY else "warn"
    advice = N_("close other programs")
    fits = {precision: largest(free, precision) for precision in BYTES}
    values = {"free": gigabytes(free), **fits, **values}
    return Finding(about, state, text, "" if state == "ok" else advice, values, _table(free))


def _table(free: int) -> tuple[tuple[str, ...], ...]:
    lines = [("RWKV-7", *BYTES, N_("fits"))]
    for size in RELEASED:
        needed = {precision: size.needed_bytes(precision) for precision in BYTES}
        fits = " ".join(each for each, bytes in needed.items() if bytes <= free)
        lines.append((size.name, *map(gigabytes, needed.values()), fits or "–"))
    return tuple(lines)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
