"""Speed and memory of fine-tuning a model of random weights, step by step as a job makes them.

usage: python benchmarks/tuning.py [--method state lora full] [--layers 12 --width 768] [--json]
Each method runs in a process of its own. A step is forwards, the loss of every position, backwards
and AdamW, in the types that a job takes. Steps with the recurrence in compiled loops and in chunks
of matrix products take turns, and medians are compared. Peak memory is that of the first kind,
beside what `tuning.memory` estimates for it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Figures = dict[str, float]
METHODS = ("state", "lora", "full")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    sizes = (("layers", 12), ("width", 768), ("vocab", 65536), ("context", 512), ("batch", 2))
    for name, value in (*sizes, ("rank", 16), ("steps", 6), ("threads", 2)):
        options.add_argument(f"--{name}", type=int, default=value)
    options.add_argument("--checkpointing", action="store_true", help="recompute blocks")
    options.add_argument("--json", action="store_true")
    options.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.here:
        print(json.dumps(measure(given.method[0], given)))
        return
    load = os.getloadavg()[0]
    results = {method: in_own_process(method) for method in given.method}
    if given.json:
        print(json.dumps({"machine": platform.machine(), "load": load, "methods": results}))
        return
    print(f"load before: {load:.1f}; {given.layers} layers, width {given.width}, "
          f"context {given.context}, batch {given.batch}, {given.threads} threads")  # fmt: skip
    print(f"{'method':8} {'tok/s':>8} {'chunks':>8} {'ratio':>6} {'trained':>12}   peak (estimate)")
    for method, row in results.items():
        peak, estimate = (row[name] / 2**30 for name in ("peak_rss_bytes", "estimated_bytes"))
        print(
            f"{method:8} {row['tokens_per_s']:8.0f} {row['chunks_tokens_per_s']:8.0f} "
            f"{row['tokens_per_s'] / row['chunks_tokens_per_s']:6.2f} {row['trained']:12,.0f} "
            f"{peak:6.2f} ({estimate:.2f}) GiB"
        )


def in_own_process(method: str) -> Figures:
    rest = [word for word in sys.argv[1:] if word not in METHODS and word != "--method"]
    command = [sys.executable, str(Path(__file__)), *rest, "--method", method, "--here"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    figures: Figures = json.loads(ran.stdout.splitlines()[-1])
    return figures


def measure(method: str, given: argparse.Namespace) -> Figures:
    import torch

    from rwkv_rag.rwkv.checkpoint import from_tensors
    from rwkv_rag.rwkv.random_weights import random_tensors
    from rwkv_rag.tuning import network as model
    from rwkv_rag.tuning.allocator import keep_freed_memory
    from rwkv_rag.tuning.cross_entropy import linear_cross_entropy
    from rwkv_rag.tuning.memory import Load, matrices_of, needed_bytes
    from rwkv_rag.tuning.methods import method_named
    from rwkv_rag.tuning.optimiser import adamw
    from rwkv_rag.tuning.wkv import wkv7, wkv7_chunked
    from rwkv_rag.types import TuneSettings

    torch.set_num_threads(given.threads)
    keep_freed_memory()
    checkpoint = from_tensors(
        random_tensors(given.layers, given.width, given.vocab, dtype=torch.bfloat16)
    )
    settings = TuneSettings(
        name="bench",
        data=Path(),
        method=method,
        rank=given.rank,
        precision="bf16",
        batch=given.batch,
        context=given.context,
        checkpointing=given.checkpointing,
    )
    device = torch.device("cpu")
    load = Load(checkpoint.shape, device, matrices_of(settings, device))
    network = model.Network.from_checkpoint(checkpoint, matrices=load.matrices)
    network.checkpointing = given.checkpointing
    method_named(method).attach(network, settings, None)
    optimiser = adamw(network.named_parameters(), lr=1e-4)
    ids = torch.randint(given.vocab, (given.batch, given.context + 1))

    def step(recurrence: Any) -> float:
        model.wkv7 = recurrence
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        hidden, _ = network.read(ids[:, :-1])
        loss = linear_cross_entropy(hidden.flatten(0, 1), network.head.weight, ids[:, 1:].flatten())
        (loss / ids[:, 1:].numel()).backward()
        optimiser.step()
        return time.perf_counter() - began

    def chunks(*inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return wkv7_chunked(*(x.float() for x in inputs))

    step(wkv7)  # compiles
    step(wkv7)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    step(chunks)
    seconds = [(step(wkv7), step(chunks)) for _ in range(given.steps)]
    loops_s, chunks_s = (statistics.median(kind) for kind in zip(*seconds, strict=True))
    tokens = given.batch * given.context
    return {
        "tokens_per_s": tokens / loops_s,
        "chunks_tokens_per_s": tokens / chunks_s,
        "trained": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "peak_rss_bytes": peak,
        "estimated_bytes": needed_bytes(settings, load),
    }


if __name__ == "__main__":
    main()
