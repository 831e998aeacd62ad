"""Time the two forms of the training recurrence: chunked matrices against compiled loops.

usage: python benchmarks/wkv_training.py [--rows 32] [--tokens 128] [--heads 4] [--threads 2]
Prints the best of several runs, forwards plus backwards, and the ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from rwkv_rag.tuning.wkv import wkv7, wkv7_chunked

RUNS = 7


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("rows", 32), ("tokens", 128), ("heads", 4), ("threads", 2)):
        options.add_argument(f"--{name}", type=int, default=value)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    arguments = inputs(given.rows, given.tokens, given.heads)
    chunked, loops = best(wkv7_chunked, arguments), best(wkv7, arguments)
    print(f"chunked {chunked * 1e3:.0f} ms, loops {loops * 1e3:.0f} ms: x{chunked / loops:.1f}")


def inputs(rows: int, tokens: int, heads: int) -> list[Tensor]:
    size = (rows, tokens, heads, 64)
    r, k, v = (torch.randn(size) for _ in range(3))
    kk = torch.nn.functional.normalize(torch.randn(size), dim=-1)
    log_w = -0.6 * torch.rand(size)
    state = torch.zeros(rows, heads, 64, 64)
    return [x.requires_grad_() for x in (r, log_w, k, v, -kk, kk * torch.rand(size), state)]


def best(form: Callable[..., tuple[Tensor, Tensor]], arguments: list[Tensor]) -> float:
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        y, _ = form(*arguments)
        torch.autograd.grad(y.sum(), arguments)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
