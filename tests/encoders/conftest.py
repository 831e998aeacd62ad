"""A tiny base with random heads: as a folder the program reads, and as the modules it came from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rwkv_rag.encoders.base import MODEL, VOCABULARY, Base
from rwkv_rag.encoders.manifest import Manifest, Reading
from rwkv_rag.rwkv.checkpoint import save_checkpoint
from rwkv_rag.rwkv.tokenizer import write_vocabulary
from rwkv_rag.tuning.heads import Heads
from rwkv_rag.tuning.network import Network, NetworkShape

WORDS = ["北京", "什么", "首都", "中国", "the", " the", "ing", "。\n"]
SHAPE = NetworkShape(4, 128, 257 + len(WORDS), 16, 16, 8, 32)


@pytest.fixture(scope="session")
def modules() -> tuple[Network, Heads]:
    torch.manual_seed(5)
    base, heads = Network(SHAPE, tied=True), Heads(SHAPE, 96)
    for name, parameter in [*base.named_parameters(), *heads.named_parameters()]:
        if parameter.ndim >= 2 and not name.endswith(("ln0.weight", "ln1.weight")):
            torch.nn.init.normal_(parameter, std=0.1)
    return base.eval(), heads.eval()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, modules: tuple[Network, Heads]) -> Path:
    folder = tmp_path_factory.mktemp("base")
    base, heads = modules
    tensors = {n: t for n, t in base.state_dict().items() if n != "head.weight"}
    tensors |= {f"heads.{n}": t for n, t in heads.state_dict().items()}
    metadata = {"tied_head": "true"}
    save_checkpoint(folder / MODEL, tensors, metadata)
    tokens = [b"", *(bytes([b]) for b in range(256)), *(w.encode() for w in WORDS)]
    write_vocabulary(folder / VOCABULARY, tokens)
    Manifest(
        "tiny", similarity_floor=0.4, reading={"zh": Reading(span=0.3)}, read_margin=1.5
    ).write(folder)
    return folder


@pytest.fixture(scope="session")
def base(folder: Path) -> Base:
    return Base(folder, dtype="fp32")
