"""Speed and memory of fine-tuning a model of random weights, step by step as a job makes them.

usage: python benchmarks/tuning.py [--method state lora full] [--layers 12 --width 768] [--json]
Each method runs in a process of its own. A step is all that a job does for it, in the types that a
job takes: forwards, the loss of every position, backwards, AdamW. The best step counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

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
    print(f"{'method':8} {'tok/s':>8} {'trained':>12} {'peak':>9}")
    for method, row in results.items():
        print(
            f"{method:8} {row['tokens_per_s']:8.0f} {row['trained']:12,.0f} "
            f"{row['peak_rss_bytes'] / 2**30:6.2f} GiB"
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
    from rwkv_rag.tuning.allocator import keep_freed_memory
    from rwkv_rag.tuning.cross_entropy import linear_cross_entropy
    from rwkv_rag.tuning.memory import matrices_of
    from rwkv_rag.tuning.methods import method_named
    from rwkv_rag.tuning.network import Network
    from rwkv_rag.tuning.optimiser import adamw
    from rwkv_rag.types import TuneSettings

    torch.set_num_threads(given.threads)
    keep_freed_memory()
    shape = (given.layers, given.width, given.vocab)
    checkpoint = from_tensors(random_tensors(*shape, dtype=torch.bfloat16))
    settings = TuneSettings(
        name="bench", data=Path(), method=method, rank=given.rank, precision="bf16"
    )
    held = matrices_of(settings, torch.device("cpu"))
    network = Network.from_checkpoint(checkpoint, matrices=held)
    network.checkpointing = given.checkpointing
    method_named(method).attach(network, settings, None)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimiser = adamw(network.named_parameters(), lr=1e-4)
    ids = torch.randint(given.vocab, (given.batch, given.context + 1))

    def step() -> float:
        began = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        hidden, _ = network.read(ids[:, :-1])
        loss = linear_cross_entropy(hidden.flatten(0, 1), network.head.weight, ids[:, 1:].flatten())
        (loss / ids[:, 1:].numel()).backward()
        optimiser.step()
        return time.perf_counter() - began

    step()  # compiles
    seconds = min(step() for _ in range(given.steps))
    return {
        "tokens_per_s": given.batch * given.context / seconds,
        "trained": sum(p.numel() for p in trained),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    main()
