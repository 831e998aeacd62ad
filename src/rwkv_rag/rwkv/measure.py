"""How fast a model file runs on this machine: the figures of `rwkv-rag bench --model`.

Times the runtime with random tokens. Comparisons with other programs are in `benchmarks`.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import torch

from rwkv_rag.rwkv.x070 import X070

PREFILL_TOKENS = 512
_DECODE_STEPS = 32
_STREAM_BYTES = 256 << 20


class Measures(TypedDict):
    """Figures of one run: speeds in tokens a second, memory in bytes."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    decode_batch8_tokens_per_s: float
    weights_bytes: int
    stream_bytes_per_s: float
    peak_rss_bytes: int
    dtype: str
    threads: int


def measure(path: Path, report: Callable[[str], None]) -> Measures:
    """Load a model file and time it; `report` is called with the name of each stage."""
    report("loading")
    model = X070.load(path)
    report("compiling")
    model.step([0], model.forward([_tokens(model, 16)]).state)
    report(f"prefill of {PREFILL_TOKENS} tokens")
    prefill = prefill_tokens_per_s(model)
    report("decoding, batch 1")
    decode = decode_tokens_per_s(model, 1)
    report("decoding, batch 8")
    decode_batch8 = decode_tokens_per_s(model, 8)
    report("memory")
    return Measures(
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=decode,
        decode_batch8_tokens_per_s=decode_batch8,
        weights_bytes=model.weights_bytes,
        stream_bytes_per_s=stream_bytes_per_s(),
        peak_rss_bytes=peak_rss_bytes(),
        dtype=model.dtype,
        threads=model.threads,
    )


def prefill_tokens_per_s(model: X070, *, repeats: int = 3) -> float:
    """Reading one sequence of 512 tokens from nothing; the best of `repeats`."""
    tokens = _tokens(model, PREFILL_TOKENS)
    return PREFILL_TOKENS / min(_seconds(lambda: model.forward([tokens])) for _ in range(repeats))


def decode_tokens_per_s(model: X070, batch: int, *, steps: int = _DECODE_STEPS) -> float:
    """One token after another for each of `batch` sequences; the median step counts."""
    state = model.forward([_tokens(model, 16)] * batch, logits=False).state
    token = _tokens(model, batch)
    times = sorted(_seconds(lambda: model.step(token, state)) for _ in range(steps))
    return batch / times[steps // 2]


def stream_bytes_per_s(*, repeats: int = 5) -> float:
    """How fast this machine reads memory: what bounds decoding."""
    block = torch.ones(_STREAM_BYTES // 4)
    return block.nbytes / min(_seconds(block.sum) for _ in range(repeats))


def peak_rss_bytes() -> int:
    """The most memory this process has held; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _tokens(model: X070, count: int) -> list[int]:
    draw = random.Random(0)
    return [draw.randrange(model.shape.vocab) for _ in range(count)]


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
