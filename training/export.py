"""Write a trained checkpoint as the folder that the program reads: model, vocabulary, manifest.

usage: python training/export.py PREPARED RUN OUT [--size cpu] [--name NAME]

Big matrices are stored in int8, a scale a row, everything else in fp32. The manifest starts
cautious (no role is trusted); calibrate.py measures and fills it in.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from recipe import Recipe, load

from rwkv_rag.encoders.base import MODEL, VOCABULARY
from rwkv_rag.encoders.manifest import Manifest
from rwkv_rag.rwkv.checkpoint import quantize_rows, save_checkpoint

LARGE = 64  # a matrix with both sides at least this long is quantised


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("prepared", type=Path)
    options.add_argument("run", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--size", default="cpu", help="the recipe it was trained by")
    options.add_argument("--name", default="builtin")
    given = options.parse_args()
    export(given.prepared, given.run, given.out, load(given.size), given.name)


def export(prepared: Path, run: Path, out: Path, recipe: Recipe, name: str) -> None:
    """Write the folder `out` from the checkpoint in `run`."""
    kept = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    tensors = exported(kept["module"])
    out.mkdir(parents=True, exist_ok=True)
    metadata = {"steps": str(kept["step"])}
    save_checkpoint(out / MODEL, tensors, metadata)
    shutil.copy(prepared / "vocab.txt", out / VOCABULARY)
    Manifest(name).write(out)
    size = (out / MODEL).stat().st_size
    print(f"step {kept['step']}: {len(tensors)} tensors, {size / 2**20:.1f} MiB")


def exported(module: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Official names for the base, `heads.` for the rest."""
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in module.items():
        tensors |= stored(name.removeprefix("base."), tensor)
    return tensors


def stored(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Large matrices as int8 with a scale for each row, all else in fp32."""
    if tensor.ndim != 2 or min(tensor.shape) < LARGE:
        return {name: tensor.float()}
    quantized, scale = quantize_rows(tensor)
    return {name: quantized, f"{name}.scale": scale}


if __name__ == "__main__":
    main()
