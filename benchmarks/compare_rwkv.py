"""Speed beside the `rwkv` package on the same random weights, in one run, as a table of ratios.

usage: python benchmarks/compare_rwkv.py [--layers 24 --width 1024] [--threads 2] [--json]
Every contender runs in its own process; they take turns, and the best round of each counts, so
that a disturbance hits all alike. The peer's figure is the better of its fp32 and bf16.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from make_weights import write

PREFILL = 512
STEPS = 24
PEERS = {"rwkv fp32": "cpu fp32", "rwkv bf16": "cpu bf16"}
OURS = {"ours fp32": "fp32", "ours bf16": "bf16"}
Figures = dict[str, float]


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def run_ours(model_file: str, dtype: str, threads: int) -> Figures:
    from rwkv_rag.rwkv.measure import decode_tokens_per_s, prefill_tokens_per_s
    from rwkv_rag.rwkv.x070 import X070

    model = X070.load(model_file, dtype=dtype, threads=threads)  # type: ignore[arg-type]
    model.step([1], model.forward([[1] * 16]).state)
    return {
        "prefill": prefill_tokens_per_s(model, repeats=2),
        "decode": decode_tokens_per_s(model, 1, steps=STEPS),
        "decode8": decode_tokens_per_s(model, 8, steps=STEPS // 2),
    }


def run_peer(model_file: str, strategy: str, threads: int) -> Figures:
    os.environ.update(RWKV_V7_ON="1", RWKV_JIT_ON="1", RWKV_CUDA_ON="0")
    import torch

    torch.set_num_threads(threads)
    from rwkv.model import RWKV

    model = RWKV(model_file.removesuffix(".pth"), strategy)
    tokens = torch.randint(1, model.args.vocab_size, (PREFILL,)).tolist()
    for _ in range(2):  # TorchScript compiles in its second run
        _, state = model.forward(tokens[:16], None)
        model.forward(tokens[0], state)
    prefill = seconds(lambda: model.forward(tokens, None))
    times = sorted(seconds(lambda: model.forward(tokens[0], state)) for _ in range(STEPS))
    return {"prefill": PREFILL / prefill, "decode": 1 / times[STEPS // 2]}


def run_apart(name: str, model_file: Path, threads: int) -> Figures:
    """Measure one contender in a fresh process."""
    command = [sys.executable, __file__, "--worker", name, "--model", str(model_file)]
    command += ["--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def compare(model_file: Path, threads: int, rounds: int) -> dict[str, Figures]:
    best: dict[str, Figures] = {name: {} for name in (*PEERS, *OURS)}
    for number in range(rounds):
        for name, figures in best.items():
            print(f"round {number + 1}/{rounds}: {name}", file=sys.stderr)
            for key, value in run_apart(name, model_file, threads).items():
                figures[key] = max(value, figures.get(key, 0.0))
    return best


def ratios(best: dict[str, Figures]) -> Figures:
    """Our faster type beside the peer's faster type."""
    return {
        key: max(best[name][key] for name in OURS) / max(best[name][key] for name in PEERS)
        for key in ("prefill", "decode")
    }


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = lines[0].split(":")[1].strip() if lines else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def table(best: dict[str, Figures]) -> str:
    lines = ["| tokens/s | prefill 512 | decode | decode, batch 8 |", "|---|--:|--:|--:|"]
    for name, figures in best.items():
        cells = [
            f"{figures[k]:.1f}" if k in figures else "-" for k in ("prefill", "decode", "decode8")
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--vocab", type=int, default=65536)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a .pth file instead of random weights")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    if chosen.worker:
        peer = chosen.worker in PEERS
        kind = (PEERS if peer else OURS)[chosen.worker]
        figures = (run_peer if peer else run_ours)(str(chosen.model), kind, chosen.threads)
        print(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as folder:
        model_file = chosen.model or Path(folder) / "random.pth"
        if not chosen.model:
            write(model_file, chosen.layers, chosen.width, chosen.vocab, "bf16")
        best = compare(model_file, chosen.threads, chosen.rounds)
    if chosen.json:
        about = {"machine": machine(), "threads": chosen.threads}
        print(json.dumps({**about, "tokens_per_s": best, "ratios": ratios(best)}))
        return
    print(f"{machine()}; {chosen.threads} threads; {chosen.layers} layers x {chosen.width}\n")
    print(table(best))
    print(
        "\n"
        + "; ".join(f"{key}: {value:.2f}x the rwkv package" for key, value in ratios(best).items())
    )


if __name__ == "__main__":
    main()
