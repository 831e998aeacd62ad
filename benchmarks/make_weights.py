"""Write random weights of a released model's shape, for speed tests (nothing sensible comes out).

usage: python benchmarks/make_weights.py OUT.pth|OUT.safetensors [--layers 24 --width 1024]
0.1B: 12 x 768; 0.4B: 24 x 1024; 1.5B: 24 x 2048; 2.9B: 32 x 2560; 7.2B: 32 x 4096.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from rwkv_rag.rwkv.checkpoint import save_checkpoint
from rwkv_rag.rwkv.random_weights import random_tensors

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def write(path: Path, layers: int, width: int, vocab: int, dtype: str) -> int:
    """Write the file; the number of parameters."""
    tensors = random_tensors(layers, width, vocab, dtype=DTYPES[dtype])
    if path.suffix == ".pth":
        torch.save(tensors, path)
    else:
        save_checkpoint(path, tensors)
    return sum(tensor.numel() for tensor in tensors.values())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--vocab", type=int, default=65536)
    parser.add_argument("--dtype", choices=DTYPES, default="bf16")
    options = parser.parse_args()
    count = write(options.out, options.layers, options.width, options.vocab, options.dtype)
    print(f"{options.out}: {count / 1e6:.1f} M parameters")


if __name__ == "__main__":
    main()
