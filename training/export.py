"""Write a trained checkpoint as the folder that the program reads: model, vocabulary, manifest.

usage: python training/export.py PREPARED RUN OUT [--name NAME]

Big matrices are stored in bf16, everything else in fp32. The manifest starts cautious (no role is
trusted); calibrate.py measures and fills it in.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from recipe import CPU_SMALL

from rwkv_rag.encoders.base import MODEL, VOCABULARY
from rwkv_rag.encoders.manifest import Manifest
from rwkv_rag.rwkv.checkpoint import save_checkpoint


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("prepared", type=Path)
    options.add_argument("run", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--name", default="builtin")
    given = options.parse_args()

    kept = torch.load(given.run / "checkpoint.pt", map_location="cpu", weights_only=True)
    tensors = exported(kept["module"])
    given.out.mkdir(parents=True, exist_ok=True)
    metadata = {
        "tied_head": "true",
        "rerank_layers": json.dumps(CPU_SMALL.rerank_layers),
        "steps": str(kept["step"]),
    }
    save_checkpoint(given.out / MODEL, tensors, metadata)
    shutil.copy(given.prepared / "vocab.txt", given.out / VOCABULARY)
    Manifest(given.name).write(given.out)
    size = (given.out / MODEL).stat().st_size
    print(f"step {kept['step']}: {len(tensors)} tensors, {size / 2**20:.1f} MiB")


def exported(module: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Official names for the base, `heads.` for the rest; the tied head is left out."""
    tensors = {
        name.removeprefix("base."): stored(tensor)
        for name, tensor in module.items()
        if name != "base.head.weight"
    }
    return tensors


def stored(tensor: torch.Tensor) -> torch.Tensor:
    large = tensor.ndim == 2 and min(tensor.shape) >= 64
    return tensor.to(torch.bfloat16 if large else torch.float32)


if __name__ == "__main__":
    main()
